package conf

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Replica is the configuration of a replica server. pegasus-replica.toml explains every key.
type Replica struct {
	ClusterName string      `toml:"cluster_name" allow:"name"`
	Metas       []string    `toml:"metas" allow:"address"`
	Node        ReplicaNode `toml:"node"`
	Log         ShardLog    `toml:"log"`
	Store       Store       `toml:"store"`
	Limits      Limits      `toml:"limits"`
	Requests    Requests    `toml:"requests"`
	MetaLink    MetaLink    `toml:"meta_link"`
	Replication Replication `toml:"replication"`
	Logging     Logging     `toml:"logging"`
	Debug       Debug       `toml:"debug"`
}

// ReplicaNode says where a replica server listens, keeps data, and how many event loops it runs.
type ReplicaNode struct {
	Listen        string   `toml:"listen" allow:"address"`
	Advertise     string   `toml:"advertise" allow:"address?"`
	DataDirs      []string `toml:"data_dirs" allow:"path"`
	BlackList     []string `toml:"data_dirs_black_list" allow:"path"`
	KeepErrors    Duration `toml:"keep_error_replicas" allow:"0s..8760h"`
	KeepGarbage   Duration `toml:"keep_garbage_replicas" allow:"0s..8760h"`
	Shards        int      `toml:"shards" allow:"0..256"`
	Scheduling    string   `toml:"scheduling" allow:"auto|normal"`
	ShardPortBase int      `toml:"shard_port_base" allow:"0..65535"`
	Zone          string   `toml:"zone" allow:"name?"`
}

// ShardLog is the write-ahead log of each shard.
type ShardLog struct {
	Sync         string `toml:"sync" allow:"group|os"`
	Writer       string `toml:"writer" allow:"auto|lane"`
	Dir          string `toml:"dir" allow:"path?"`
	SegmentSize  Size   `toml:"segment_size" allow:"1MiB..1GiB"`
	MaxTotalSize Size   `toml:"max_total_size" allow:"4MiB..16TiB"`
	MaxPending   Size   `toml:"max_pending" allow:"1MiB..512MiB"`
}

// Store holds what all RocksDB instances of the server share, and how each is shaped.
type Store struct {
	BlockCache          Size `toml:"block_cache" allow:"1MiB..16TiB"`
	RowCache            Size `toml:"row_cache" allow:"0B..1TiB"`
	WriteBuffer         Size `toml:"write_buffer" allow:"64KiB..4GiB"`
	WriteBufferTotal    Size `toml:"write_buffer_total" allow:"1MiB..1TiB"`
	MaxBackgroundJobs   int  `toml:"max_background_jobs" allow:"2..256"`
	CompactionRateLimit Size `toml:"compaction_rate_limit" allow:"0B..1TiB"`
}

// Limits bound memory: past each of them a request is refused or a session is closed.
type Limits struct {
	MaxFrame           Size `toml:"max_frame" allow:"1MiB..1GiB"`
	MaxWrite           Size `toml:"max_write" allow:"1KiB..256MiB"`
	MaxSessions        int  `toml:"max_sessions" allow:"16..1000000"`
	MaxInbound         Size `toml:"max_inbound" allow:"1MiB..2GiB"`
	MaxOutbound        Size `toml:"max_outbound" allow:"1MiB..2GiB"`
	PrepareWindowCount int  `toml:"prepare_window_count" allow:"1..65536"`
	PrepareWindowBytes Size `toml:"prepare_window_bytes" allow:"1MiB..1GiB"`
	MaxScanContexts    int  `toml:"max_scan_contexts" allow:"1..1000000"`
	MinFreeDisk        Size `toml:"min_free_disk" allow:"0B..16TiB"`
}

// Requests bound the work of one request. The defaults are those of Apache Pegasus: clients see them.
type Requests struct {
	MultiGetMaxIterationCount int      `toml:"multi_get_max_iteration_count" allow:"1..1000000"`
	MultiGetMaxIterationSize  Size     `toml:"multi_get_max_iteration_size" allow:"1KiB..512MiB"`
	ScanMaxIteration          int      `toml:"scan_max_iteration" allow:"1..1000000"`
	IterationTime             Duration `toml:"iteration_time" allow:"1ms..1h"`
	ScanContextExpiry         Duration `toml:"scan_context_expiry" allow:"1s..24h"`
	ScanShare                 int      `toml:"scan_share" allow:"1..100"`
	SlowThreshold             Duration `toml:"slow_threshold" allow:"0s..1h"`
}

// MetaLink is the connection that a replica server keeps to the meta group.
type MetaLink struct {
	BeaconInterval Duration `toml:"beacon_interval" allow:"10ms..1m"`
	AckTimeout     Duration `toml:"ack_timeout" allow:"20ms..5m"`
	DialTimeout    Duration `toml:"dial_timeout" allow:"10ms..1m"`
}

// Replication is the traffic between replica servers.
type Replication struct {
	BeaconInterval Duration `toml:"beacon_interval" allow:"10ms..10s"`
	Lease          Duration `toml:"lease" allow:"50ms..1m"`
	Grace          Duration `toml:"grace" allow:"100ms..5m"`
	TransferListen string   `toml:"transfer_listen" allow:"address?"`
	TransferRate   Size     `toml:"transfer_rate" allow:"0B..1TiB"`
}

// DefaultReplica returns the configuration of an empty file.
func DefaultReplica() *Replica {
	return &Replica{
		ClusterName: "pegasus",
		Metas:       []string{"127.0.0.1:34601"},
		Node: ReplicaNode{
			Listen:    "127.0.0.1:34801",
			DataDirs:  []string{"data"},
			BlackList: []string{},

			Scheduling: "auto",

			KeepErrors:  Duration(7 * 24 * time.Hour),
			KeepGarbage: Duration(24 * time.Hour),
		},
		Log: ShardLog{
			Sync:         "group",
			Writer:       "auto",
			SegmentSize:  64 * MiB,
			MaxTotalSize: 4 * GiB,
			MaxPending:   32 * MiB,
		},
		Store: Store{
			BlockCache:          256 * MiB,
			RowCache:            64 * MiB,
			WriteBuffer:         64 * MiB,
			WriteBufferTotal:    1 * GiB,
			MaxBackgroundJobs:   4,
			CompactionRateLimit: 500 * MiB,
		},
		Limits: Limits{
			MaxFrame:           64 * MiB,
			MaxWrite:           1 * MiB,
			MaxSessions:        20000,
			MaxInbound:         96 * MiB,
			MaxOutbound:        128 * MiB,
			PrepareWindowCount: 1024,
			PrepareWindowBytes: 16 * MiB,
			MaxScanContexts:    1000,
			MinFreeDisk:        1 * GiB,
		},
		Requests: Requests{
			MultiGetMaxIterationCount: 3000,
			MultiGetMaxIterationSize:  30 * MiB,
			ScanMaxIteration:          1000,
			IterationTime:             Duration(30 * time.Second),
			ScanContextExpiry:         Duration(5 * time.Minute),
			ScanShare:                 10,
			SlowThreshold:             Duration(100 * time.Millisecond),
		},
		MetaLink: MetaLink{
			BeaconInterval: Duration(time.Second),
			AckTimeout:     Duration(3 * time.Second),
			DialTimeout:    Duration(time.Second),
		},
		Replication: Replication{
			BeaconInterval: Duration(300 * time.Millisecond),
			Lease:          Duration(1500 * time.Millisecond),
			Grace:          Duration(2500 * time.Millisecond),
			TransferRate:   100 * MiB,
		},
		Logging: defaultLogging(),
	}
}

// DataDir is an element of node.data_dirs taken apart.
type DataDir struct{ Tag, Path string }

// Dirs are the data folders that are to be used: those of node.data_dirs that are not on the black list. One without a tag gets
// disk1, disk2 and so on, by its place in node.data_dirs.
func (c *Replica) Dirs() []DataDir {
	var dirs []DataDir
	for i, s := range c.Node.DataDirs {
		tag, path := splitTag(s)
		if tag == "" {
			tag = "disk" + strconv.Itoa(i+1)
		}
		if !slices.Contains(c.Node.BlackList, path) {
			dirs = append(dirs, DataDir{Tag: tag, Path: path})
		}
	}
	return dirs
}

// splitTag takes "tag:path" apart. What stands before a colon and is no name is a part of the path.
func splitTag(s string) (tag, path string) {
	if tag, path, ok := strings.Cut(s, ":"); ok && isName(tag) && path != "" {
		return tag, path
	}
	return "", s
}

// AdvertiseAddress is the address that others dial: node.advertise, or node.listen when that is empty.
func (c *Replica) AdvertiseAddress() string {
	if c.Node.Advertise != "" {
		return c.Node.Advertise
	}
	return c.Node.Listen
}

func (c *Replica) relations(report func(key, format string, args ...any)) {
	if len(c.Metas) == 0 || len(c.Metas) > 5 {
		report("metas", "%d addresses: want 1 to 5", len(c.Metas))
	}
	switch dirs := c.Dirs(); {
	case len(c.Node.DataDirs) == 0:
		report("node.data_dirs", "empty: want at least one folder")
	case len(dirs) == 0:
		report("node.data_dirs_black_list", "names every folder of node.data_dirs: want at least one left")
	default:
		tags := map[string]bool{}
		for _, d := range dirs {
			if tags[d.Tag] {
				report("node.data_dirs", "tag %q given twice", d.Tag)
			}
			tags[d.Tag] = true
		}
	}
	advertised(c.Node.Listen, c.Node.Advertise, report)
	if base, last := c.Node.ShardPortBase, c.Node.ShardPortBase+max(c.Node.Shards, 1)-1; base > 0 {
		if port := portOf(c.Node.Listen); last > 65535 || base <= port && port <= last {
			report("node.shard_port_base", "%d: the ports %d to %d of the shards must be valid and must not contain the port of node.listen", base, base, last)
		}
	}
	if c.Log.MaxTotalSize < 4*c.Log.SegmentSize {
		report("log.max_total_size", "%v: want at least four segments of log.segment_size %v", c.Log.MaxTotalSize, c.Log.SegmentSize)
	}
	if c.Log.MaxPending < 2*c.Limits.MaxWrite || c.Log.MaxPending > c.Log.SegmentSize/2 {
		report("log.max_pending", "%v: want at least twice limits.max_write %v and at most half of log.segment_size %v", c.Log.MaxPending, c.Limits.MaxWrite, c.Log.SegmentSize)
	}
	if c.Limits.MaxFrame <= c.Limits.MaxWrite {
		report("limits.max_frame", "%v: want more than limits.max_write %v", c.Limits.MaxFrame, c.Limits.MaxWrite)
	}
	if c.Limits.MaxInbound < c.Limits.MaxFrame {
		report("limits.max_inbound", "%v: want at least limits.max_frame %v", c.Limits.MaxInbound, c.Limits.MaxFrame)
	}
	if c.Limits.MaxOutbound < 2*c.Requests.MultiGetMaxIterationSize {
		report("limits.max_outbound", "%v: want at least twice requests.multi_get_max_iteration_size %v", c.Limits.MaxOutbound, c.Requests.MultiGetMaxIterationSize)
	}
	if c.Limits.PrepareWindowBytes < c.Limits.MaxWrite {
		report("limits.prepare_window_bytes", "%v: want at least limits.max_write %v", c.Limits.PrepareWindowBytes, c.Limits.MaxWrite)
	}
	if c.Store.WriteBufferTotal < c.Store.WriteBuffer {
		report("store.write_buffer_total", "%v: want at least store.write_buffer %v", c.Store.WriteBufferTotal, c.Store.WriteBuffer)
	}
	if c.Replication.Lease < 2*c.Replication.BeaconInterval {
		report("replication.lease", "%v: want at least twice replication.beacon_interval %v, so that one lost question is harmless", c.Replication.Lease, c.Replication.BeaconInterval)
	}
	if c.Replication.Grace <= c.Replication.Lease {
		report("replication.grace", "%v: want more than replication.lease %v: a primary must give up before others take over", c.Replication.Grace, c.Replication.Lease)
	}
	c.Debug.check(report)
	if c.MetaLink.AckTimeout < 2*c.MetaLink.BeaconInterval {
		report("meta_link.ack_timeout", "%v: want at least twice meta_link.beacon_interval %v", c.MetaLink.AckTimeout, c.MetaLink.BeaconInterval)
	}
}

// resolve makes paths absolute and fills in values that are derived from others.
func (c *Replica) resolve(folder string) {
	for i, dir := range c.Node.DataDirs {
		if tag, path := splitTag(dir); tag != "" {
			c.Node.DataDirs[i] = tag + ":" + under(folder, path)
		} else {
			c.Node.DataDirs[i] = under(folder, path)
		}
	}
	for i, dir := range c.Node.BlackList {
		c.Node.BlackList[i] = under(folder, dir)
	}
	c.Log.Dir = under(folder, c.Log.Dir)
	if c.Log.Dir == "" {
		c.Log.Dir = c.Dirs()[0].Path
	}
	c.Node.Advertise = c.AdvertiseAddress()
	c.Logging.File = under(folder, c.Logging.File)
}

// advertised reports a pair of addresses from which nobody could learn where to dial.
func advertised(listen, advertise string, report func(key, format string, args ...any)) {
	switch {
	case advertise == "" && anyHost(listen):
		report("node.advertise", "missing: node.listen %q is every interface, so say which address others dial", listen)
	case anyHost(advertise):
		report("node.advertise", "%q: want an address that others can dial", advertise)
	}
}
