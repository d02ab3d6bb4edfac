package shard

import (
	"os"
	"strconv"
	"strings"

	"pegasus/consensus"
	"pegasus/netcore/metric/export"
	"pegasus/netcore/proto"
)

// The metrics of a node under the names of Apache Pegasus, as far as there is something behind them here (spec tools 4).

const (
	counter    = "Counter"
	gauge      = "Gauge"
	percentile = "Percentile"
)

// entities makes the entities of the wanted types. It runs off the loops.
func (c *collector) entities(wanted func(string) bool) []export.Entity {
	var out []export.Entity
	c.mu.Lock()
	defer c.mu.Unlock()
	if wanted("replica") {
		c.each(func(_ *census, r *replicaCensus) { out = append(out, c.replicaEntity(r)) })
	}
	if wanted("disk") {
		for _, r := range c.node.disks.all() {
			out = append(out, export.Entity{
				Type: "disk", ID: "disk@" + r.tag, Attributes: map[string]string{"tag": r.tag, "data_dir": r.path},
				Metrics: []export.Metric{
					{Name: "disk_capacity_total_mb", Type: gauge, Unit: "MegaBytes", Desc: "The total disk capacity", Value: r.capacity.Load() >> 20},
					{Name: "disk_capacity_avail_mb", Type: gauge, Unit: "MegaBytes", Desc: "The available disk capacity", Value: r.available.Load() >> 20},
				},
			})
		}
	}
	if wanted("server") {
		out = append(out, c.serverEntity())
	}
	return out
}

func (c *collector) serverEntity() export.Entity {
	e := export.Entity{Type: "server", ID: "server"}
	put := func(typ, name, unit, desc string, v int64) {
		e.Metrics = append(e.Metrics, export.Metric{Name: name, Type: typ, Unit: unit, Desc: desc, Value: v})
	}
	roles := map[string]int64{}
	total := int64(0)
	c.each(func(_ *census, r *replicaCensus) {
		roles[roleName(r.state, r.role)]++
		total++
	})
	sessions := 0
	var f failures
	for _, sh := range c.node.shards {
		st := sh.loop.Snapshot()
		sessions += st.Sessions
	}
	for _, a := range c.newest {
		if a != nil {
			f.add(&a.failures)
		}
	}
	replicas := func(name, role string) {
		put(gauge, name, "Replicas", "The number of "+strings.ReplaceAll(name, "_", " "), roles[role])
	}
	put(gauge, "total_replicas", "Replicas", "The total number of replicas", total)
	replicas("opening_replicas", "opening")
	replicas("closing_replicas", "closing")
	replicas("primary_replicas", "primary")
	replicas("secondary_replicas", "secondary")
	replicas("learning_replicas", "learner")
	replicas("inactive_replicas", "inactive")
	replicas("error_replicas", "failed")
	put(gauge, "network_server_sessions", "Sessions", "The number of sessions from server side", int64(sessions))
	virtual, resident := memoryPages()
	put(gauge, "virtual_mem_usage_mb", "MegaBytes", "The total amount of virtual memory usage in MB", virtual>>20)
	put(gauge, "resident_mem_usage_mb", "MegaBytes", "The total amount of physical memory usage in MB", resident>>20)
	put(gauge, "rdb_block_cache_mem_usage_bytes", "Bytes", "The memory usage of rocksdb block cache", int64(c.node.shared.BlockCacheUsage()))
	put(gauge, "rdb_wbm_total_mem_usage_bytes", "Bytes", "The total memory usage of rocksdb write buffers", int64(c.node.shared.MemtableUsage()))
	class := func(kind string, errs *[256]uint64) {
		busy, failed := int64(errs[proto.ErrBusy]), int64(0)
		for code, n := range errs {
			if proto.ErrCode(code) != proto.ErrBusy {
				failed += int64(n)
			}
		}
		put(counter, kind+"_busy_requests", "Requests", "The number of busy "+kind+" requests", busy)
		put(counter, kind+"_failed_requests", "Requests", "The number of failed "+kind+" requests", failed)
	}
	class("read", &f.reads)
	class("write", &f.writes)
	return e
}

func (f *failures) add(o *failures) {
	for i := range f.reads {
		f.reads[i] += o.reads[i]
		f.writes[i] += o.writes[i]
	}
}

// memoryPages reads the memory of this process in bytes; 0 where the system does not tell.
func memoryPages() (virtual, resident int64) {
	b, err := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(b))
	if err != nil || len(fields) < 2 {
		return 0, 0
	}
	page := int64(os.Getpagesize())
	virtual, _ = strconv.ParseInt(fields[0], 10, 64)
	resident, _ = strconv.ParseInt(fields[1], 10, 64)
	return virtual * page, resident * page
}

// withBytes are the kinds of requests whose bytes Apache Pegasus counts.
var withBytes = map[kind]bool{
	kindGet: true, kindMultiGet: true, kindBatchGet: true, kindScan: true, kindPut: true, kindMultiPut: true,
	kindCheckAndSet: true, kindCheckAndMutate: true,
}

func (c *collector) replicaEntity(r *replicaCensus) export.Entity {
	g := r.gpid
	e := export.Entity{
		Type: "replica", ID: "replica@" + g.String(),
		Attributes: map[string]string{"table_id": strconv.Itoa(int(g.App)), "partition_id": strconv.Itoa(int(g.Part))},
	}
	put := func(typ, name, unit, desc string, v int64) {
		e.Metrics = append(e.Metrics, export.Metric{Name: name, Type: typ, Unit: unit, Desc: desc, Value: v})
	}
	var read, write, committed uint64
	period := c.periods[g]
	for k := kindGet; k < kindCount; k++ {
		m := r.kinds[k]
		if m == nil {
			m = &noneCounted
		}
		if k.write() {
			write += m.units
			committed += m.latency.Count()
		} else {
			read += m.units
		}
		name, upper := kindNames[k], strings.ToUpper(kindNames[k])
		put(counter, name+"_requests", "Requests", "The number of "+upper+" requests", int64(m.latency.Count()))
		if withBytes[k] {
			put(counter, name+"_bytes", "Bytes", "The bytes of "+upper+" requests", int64(m.bytes))
		}
		p := period.percentiles(k)
		e.Metrics = append(e.Metrics, export.Metric{
			Name: name + "_latency_ns", Type: percentile, Unit: "NanoSeconds", Desc: "The latency of " + upper + " requests", Percentiles: &p,
		})
	}
	put(counter, "read_capacity_units", "CapacityUnits", "The number of capacity units for read requests", int64(read))
	put(counter, "write_capacity_units", "CapacityUnits", "The number of capacity units for write requests", int64(write))
	if consensus.Role(r.role) == consensus.Primary {
		put(counter, "committed_requests", "Requests", "The number of committed requests", int64(committed))
	}
	size := c.sizes[g]
	put(gauge, "rdb_total_sst_size_mb", "MegaBytes", "The total size of rocksdb sst files", int64(size.LiveBytes>>20))
	put(gauge, "rdb_estimated_keys", "Keys", "The estimated number of rocksdb keys", int64(size.EstimatedKeys))
	put(gauge, "rdb_memtable_mem_usage_bytes", "Bytes", "The memory usage of rocksdb memtables", int64(size.MemtableBytes))
	return e
}
