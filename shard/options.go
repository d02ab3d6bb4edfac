package shard

import (
	"time"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/engine/rocks"
	"pegasus/shard/rrdb"
)

// Options configure a node. The zero value is not usable; package conf holds the defaults and their reasons.
type Options struct {
	ClusterName string
	Listen      string    // host:port that clients dial; every shard listens on it
	Advertise   string    // host:port that is told to others; Listen when empty
	DataDirs    []DataDir // each holds the node's identity; the first one also the shard logs, unless LogDir is set
	LogDir      string
	MinFree     int64         // bytes that a disk must have available, at most a tenth of it, for writes to be taken; 0 = any
	KeepErrors  time.Duration // how long failed replicas that were moved aside stay on disk; 0 = for ever
	KeepGarbage time.Duration // the same of replicas that meta had no use for
	Shards      int           // event loops, >= 1
	ShardPort   int           // port of shard 0, shard i listens on ShardPort+i; 0 = none
	Metas       []string
	Zone        string // rack or zone that meta spreads copies over; empty if none

	Limits       Limits
	Reads        rrdb.Limits
	Log          mutlog.Options
	NormalPolicy bool // loops never let what runs on their processor finish first; see loop.Config
	LogLane      bool // log writes are the log lane's, always; see logwrite.go
	Store        rocks.Options
	Shared       rocks.SharedOptions
	Rows         uint64 // bytes of records read lately that all shards keep together, in equal parts of at least rowcache.MinBytes; 0 = none

	Window consensus.Limits // of prepared, uncommitted mutations per partition
	Timing consensus.Timing // of leases, repetitions and hand-overs

	TransferListen string // host:port where checkpoints are handed out to learners; port 0 picks one
	TransferRate   int64  // bytes per second that learning may read and write, 0 = no limit

	SlowAfter time.Duration // from which on a request is explained in the slow log, unless its table says otherwise; 0 = off

	BeaconInterval time.Duration // between beacons to meta
	AckTimeout     time.Duration // a meta that answers no beacon for so long is left for the next
	DialTimeout    time.Duration
	StatusInterval time.Duration // between reports of disks and loads to meta; 0 = three seconds
	ConfigText     string        // the effective configuration, for remote command config-dump
	Logger         *zap.Logger
	// OnFatal is called, from any goroutine, when the node cannot go on (an event loop ended); the process should exit.
	OnFatal func(error)
}

// Limits bound what a node holds for its callers. Past a limit the caller gets ERR_BUSY or the session is closed.
type Limits struct {
	MaxFrame        int           // bytes of one request frame; a longer one closes the session
	MaxWrite        int           // bytes of a write request's body, 0 = off; a longer one gets ERR_INVALID_DATA
	MaxSessions     int           // per shard
	MaxInbound      int           // unparsed bytes per session, at least MaxFrame
	MaxOutbound     int           // unsent bytes per session; a slower reader is closed
	MaxInFlight     int           // unanswered requests per session; more get ERR_BUSY. Default 16384
	MaxMutation     int           // bytes of one mutation; a larger turn makes several. Default 1 MiB
	MaxQueuedWrites int           // writes per partition that wait behind an atomic operation's read. Default 4096
	MaxScanners     int           // open scan contexts per partition; the oldest goes when one more is opened. Default 1000
	ScannerExpiry   time.Duration // of a scan context that nobody fetches. Default 5 minutes, as Apache Pegasus
	IdleTimeout     time.Duration // of a session without traffic; 0 = never, as Apache Pegasus does
	ReadWorkers     int           // goroutines per shard for reads that must touch storage. Default 4
	ReadQueue       int           // reads per shard that wait for them. Default 8192
	ScanShare       int           // percent of a shard's time that long reads may take beside short requests, 1 to 100. Default 10
}

func (l *Limits) fillDefaults() {
	fill := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	fill(&l.MaxInFlight, 16384)
	fill(&l.MaxMutation, 1<<20)
	fill(&l.MaxQueuedWrites, 4096)
	fill(&l.ReadWorkers, 4)
	fill(&l.ReadQueue, 8192)
	fill(&l.ScanShare, 10)
	fill(&l.MaxScanners, 1000)
	if l.ScannerExpiry == 0 {
		l.ScannerExpiry = 5 * time.Minute
	}
}
