package shard

import (
	"pegasus/engine"
	"pegasus/netcore/metric"
	"pegasus/netcore/metric/export"
)

// tableSum is what the replicas of a table on this node are together.
type tableSum struct {
	kinds    meter
	recent   [kindCount]metric.Histogram
	replicas int
	inFlight int
	store    engine.Stats
}

func (t *tableSum) add(r *replicaCensus, size engine.Stats, period *replicaPeriod) {
	t.replicas++
	t.inFlight += r.inFlight
	t.store.LiveBytes += size.LiveBytes
	t.store.MemtableBytes += size.MemtableBytes
	t.store.EstimatedKeys += size.EstimatedKeys
	t.store.PendingCompact += size.PendingCompact
	t.store.FilesAtLevel0 += size.FilesAtLevel0
	t.store.RunningFlushes += size.RunningFlushes
	t.store.RunningCompacts += size.RunningCompacts
	for k, m := range r.kinds {
		if m == nil {
			continue
		}
		if t.kinds[k] == nil {
			t.kinds[k] = new(kindMeter)
		}
		sum := t.kinds[k]
		sum.bytes += m.bytes
		sum.units += m.units
		sum.latency.Merge(&m.latency)
		if period != nil && period.recent[k] != nil {
			t.recent[k].Merge(period.recent[k])
		}
	}
}

func (t *tableSum) families(f *export.Families, table string) {
	gauge := func(name, help string, v float64) { f.Gauge(name, help, v, "table", table) }
	gauge("pegasus_table_replicas", "Replicas of the table on this server.", float64(t.replicas))
	gauge("pegasus_table_mutations_in_flight", "Mutations of the table that are proposed and not answered.", float64(t.inFlight))
	gauge("pegasus_table_store_bytes", "Estimated live data of the table on disk.", float64(t.store.LiveBytes))
	gauge("pegasus_table_store_memtable_bytes", "Memtables of the table.", float64(t.store.MemtableBytes))
	gauge("pegasus_table_store_keys", "Estimated records of the table.", float64(t.store.EstimatedKeys))
	gauge("pegasus_table_store_pending_compaction_bytes", "Estimated bytes that compactions still have to rewrite.", float64(t.store.PendingCompact))
	gauge("pegasus_table_store_level0_files", "Files at level 0 of the table's stores.", float64(t.store.FilesAtLevel0))
	gauge("pegasus_table_store_flushes_running", "Flushes of the table that run.", float64(t.store.RunningFlushes))
	gauge("pegasus_table_store_compactions_running", "Compactions of the table that run.", float64(t.store.RunningCompacts))
	for k, m := range t.kinds {
		if m == nil {
			continue
		}
		op := kindNames[k]
		f.Histogram("pegasus_table_request_duration_seconds", "Requests answered, from their turn of the loop to their answer.",
			&m.latency, 1e-9, firstNanos, lastNanos, "table", table, "op", op)
		f.Summary("pegasus_table_request_recent_duration_seconds", "Quantiles of the last ten seconds; sum and count are those of all requests.",
			&m.latency, export.PercentilesOf(&t.recent[k]), 1e-9, "table", table, "op", op)
		f.Counter("pegasus_table_request_bytes_total", "Bytes of the records that were returned or written.", float64(m.bytes), "table", table, "op", op)
		f.Counter("pegasus_table_capacity_units_total", "Capacity units: 4 KiB begun, per request.", float64(m.units), "table", table, "op", op)
	}
}

// replicaFamilies makes the metrics of one replica, for those who ask for them: a node has thousands.
func (c *collector) replicaFamilies(f *export.Families, r *replicaCensus) {
	table, partition := label(r.table), r.gpid.String()
	labels := []string{"table", table, "partition", partition}
	size, period := c.sizes[r.gpid], c.periods[r.gpid]
	f.Gauge("pegasus_partition_role", "What the replica is on this server, always 1.", 1, "table", table, "partition", partition,
		"role", roleName(r.state, r.role), "disk", r.disk)
	f.Gauge("pegasus_partition_committed_decree", "Newest committed decree.", float64(r.committed), labels...)
	f.Gauge("pegasus_partition_uncommitted_mutations", "Mutations prepared and not committed.", float64(r.prepared-r.committed), labels...)
	f.Gauge("pegasus_partition_unflushed_mutations", "Mutations committed that the store does not have without the log.", float64(r.committed-r.flushed), labels...)
	f.Gauge("pegasus_partition_store_bytes", "Estimated live data of the replica on disk.", float64(size.LiveBytes), labels...)
	f.Gauge("pegasus_partition_store_keys", "Estimated records of the replica.", float64(size.EstimatedKeys), labels...)
	f.Gauge("pegasus_partition_scans", "Scans that wait to be continued.", float64(r.scanners), labels...)
	for k, m := range r.kinds {
		if m == nil {
			continue
		}
		withOp := append(labels[:4:4], "op", kindNames[k])
		f.Summary("pegasus_partition_request_duration_seconds", "Quantiles of the last ten seconds; sum and count are those of all requests.",
			&m.latency, period.percentiles(kind(k)), 1e-9, withOp...)
		f.Counter("pegasus_partition_request_bytes_total", "Bytes of the records that were returned or written.", float64(m.bytes), withOp...)
	}
}
