package main

import (
	"net"
	"runtime"
	"time"

	"pegasus/conf"
	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/engine/rocks"
	"pegasus/shard"
	"pegasus/shard/rrdb"
)

// options turns the configuration file's words into the node's.
func options(c *conf.Replica) (shard.Options, error) {
	sync, err := mutlog.ParseSyncMode(c.Log.Sync)
	if err != nil {
		return shard.Options{}, err
	}
	shards := c.Node.Shards
	if shards == 0 {
		shards = runtime.NumCPU()
	}
	window := consensus.Limits{Mutations: c.Limits.PrepareWindowCount, Bytes: int(c.Limits.PrepareWindowBytes)}
	timing := consensus.DefaultTiming()
	timing.Beacon = time.Duration(c.Replication.BeaconInterval)
	timing.Lease, timing.Grace = time.Duration(c.Replication.Lease), time.Duration(c.Replication.Grace)
	transfers := c.Replication.TransferListen
	if transfers == "" {
		host, _, err := net.SplitHostPort(c.Node.Listen)
		if err != nil {
			return shard.Options{}, err
		}
		transfers = net.JoinHostPort(host, "0")
	}
	var dirs []shard.DataDir
	for _, d := range c.Dirs() {
		dirs = append(dirs, shard.DataDir{Tag: d.Tag, Path: d.Path})
	}
	return shard.Options{
		ClusterName:  c.ClusterName,
		Listen:       c.Node.Listen,
		Advertise:    c.Node.Advertise,
		DataDirs:     dirs,
		KeepErrors:   time.Duration(c.Node.KeepErrors),
		KeepGarbage:  time.Duration(c.Node.KeepGarbage),
		LogDir:       c.Log.Dir,
		LogLane:      c.Log.Writer == "lane",
		NormalPolicy: c.Node.Scheduling == "normal",
		MinFree:      int64(c.Limits.MinFreeDisk),
		Shards:       shards,
		ShardPort:    c.Node.ShardPortBase,
		Metas:        c.Metas,
		Zone:         c.Node.Zone,
		Limits: shard.Limits{
			MaxFrame:      int(c.Limits.MaxFrame),
			MaxWrite:      int(c.Limits.MaxWrite),
			MaxSessions:   max(1, c.Limits.MaxSessions/shards),
			MaxInbound:    int(c.Limits.MaxInbound),
			MaxOutbound:   int(c.Limits.MaxOutbound),
			MaxScanners:   c.Limits.MaxScanContexts,
			ScannerExpiry: time.Duration(c.Requests.ScanContextExpiry),
			ScanShare:     c.Requests.ScanShare,
		},
		Reads: rrdb.Limits{
			MultiGetMaxIterCount: c.Requests.MultiGetMaxIterationCount,
			MultiGetMaxIterBytes: int(c.Requests.MultiGetMaxIterationSize),
			ScanMaxIter:          c.Requests.ScanMaxIteration,
			MaxReplyBytes:        int(c.Limits.MaxOutbound) / 2,
			IterationTime:        time.Duration(c.Requests.IterationTime),
		},
		Log: mutlog.Options{
			Sync:        sync,
			SegmentSize: int64(c.Log.SegmentSize),
			TotalSize:   max(int64(c.Log.MaxTotalSize)/int64(shards), 3*int64(c.Log.SegmentSize)),
			MaxPending:  int(c.Log.MaxPending),
			MaxRecord:   min(window.Bytes, int(c.Log.MaxPending)/2),
		},
		SlowAfter: time.Duration(c.Requests.SlowThreshold),

		Window: window,
		Timing: timing,

		TransferListen: transfers,
		TransferRate:   int64(c.Replication.TransferRate),
		Store:          rocks.Options{WriteBufferBytes: uint64(c.Store.WriteBuffer)},
		Shared: rocks.SharedOptions{
			BlockCacheBytes:  uint64(c.Store.BlockCache),
			MemtableBytes:    uint64(c.Store.WriteBufferTotal),
			IOBytesPerSecond: int64(c.Store.CompactionRateLimit),
			FlushThreads:     max(1, c.Store.MaxBackgroundJobs/4),
			CompactThreads:   max(1, c.Store.MaxBackgroundJobs-c.Store.MaxBackgroundJobs/4),
		},
		Rows:           uint64(c.Store.RowCache),
		BeaconInterval: time.Duration(c.MetaLink.BeaconInterval),
		AckTimeout:     time.Duration(c.MetaLink.AckTimeout),
		DialTimeout:    time.Duration(c.MetaLink.DialTimeout),
	}, nil
}
