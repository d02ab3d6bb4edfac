package shard

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"pegasus/consensus/mutlog"
	"pegasus/engine/rocks"
	"pegasus/netcore/disk"
	"pegasus/netcore/httpfront"
	"pegasus/netcore/lane"
	"pegasus/netcore/loop"
	"pegasus/netcore/peer"
	"pegasus/netcore/proto"
	"pegasus/shard/tableenv"
	"pegasus/shard/transfer"
)

// Node is a replica server: its shards, what they share, and the link to the meta group.
type Node struct {
	opts        Options
	logger      *zap.Logger
	id          proto.NodeID
	incarnation int64
	address     proto.RPCAddress // advertised, as Apache clients need it
	advertised  proto.HostPort
	server      []byte // advertised host:port, as replies carry it
	started     time.Time

	disks      *disks
	space      *space
	shared     *rocks.Shared
	shards     []*Shard
	link       *metaLink
	background *lane.Lane // open, close, flush; bounded by the number of partitions
	compacting *lane.Lane // manual compactions
	dialer     *lane.Lane
	leases     *nodeLeases
	peerDialer *peer.Dialer
	learning   *lane.Lane // logs read and checkpoints made for learners
	fetching   *lane.Lane // checkpoints fetched as a learner
	transfers  *transfer.Server
	life       context.Context // ends when the node stops
	endLife    context.CancelFunc
	watching   sync.WaitGroup // goroutines that end with life

	transferAddress proto.HostPort
	transferBudget  *transfer.Budget // one for all copies in both directions

	slow      *slowLog
	slowAfter atomic.Int64      // Options.SlowAfter, or what it was changed to
	config    *httpfront.Config // belongs to the lane of pages
	collector *collector
	pages     *lane.Lane // HTTP pages are made here

	foreign []*mutlog.Foreign // logs of shards that a former run had
	locks   []io.Closer       // of the data directories; guarded by locksMu once the node runs
	locksMu sync.Mutex
	// addingDisk is held while a data directory is taken in.
	addingDisk  sync.Mutex
	compactions atomic.Int64 // manual ones queued or running
	complete    atomic.Bool  // all loops exist; until then sessions wait, as their requests may be for any shard
}

// Start opens what is on the data directories, replays the shard logs, and serves. It returns when the ports are open; the
// partitions serve once meta has confirmed them.
func Start(opts Options) (*Node, error) {
	opts.Limits.fillDefaults()
	if opts.StatusInterval == 0 {
		opts.StatusInterval = defaultStatusInterval
	}
	if opts.Logger == nil {
		opts.Logger = zap.NewNop()
	}
	if opts.Shards < 1 || len(opts.DataDirs) == 0 || len(opts.Metas) == 0 {
		return nil, errors.New("a node needs at least one shard, one data directory and one meta address")
	}
	if err := opts.Timing.Validate(); err != nil {
		return nil, err
	}
	n := &Node{opts: opts, logger: opts.Logger, started: time.Now(), slow: &slowLog{logger: opts.Logger.Named("slow")}}
	n.slowAfter.Store(int64(opts.SlowAfter))
	n.config = n.newConfig()
	if err := n.start(); err != nil {
		return nil, errors.Join(err, n.stopLoops(), n.release())
	}
	return n, nil
}

// takeDirectories makes and locks the data directories and returns those that can be used. One that cannot is broken from the
// start, unless it is in use by another process; there must be one left.
func (n *Node) takeDirectories() (usable []string, err error) {
	n.disks = newDisks(n.opts.DataDirs)
	var errs []error
	for _, r := range n.disks.all() {
		err := os.MkdirAll(r.path, 0o755)
		if err == nil {
			var lock io.Closer
			if lock, err = disk.OS().Lock(r.path); err == nil {
				n.locks = append(n.locks, lock)
				usable = append(usable, r.path)
				continue
			}
		}
		err = fmt.Errorf("data directory %s: %w", r.path, err)
		if errors.Is(err, disk.ErrLocked) {
			return nil, err
		}
		n.logger.Error("data directory cannot be used; the node goes on without it", zap.Error(err))
		r.broken.Store(true)
		errs = append(errs, err)
	}
	if len(usable) == 0 {
		return nil, errors.Join(errs...)
	}
	return usable, nil
}

// stopLoops ends the loops of a node that could not start.
func (n *Node) stopLoops() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var errs []error
	for _, sh := range n.shards {
		if sh.loop != nil {
			errs = append(errs, sh.loop.Stop(ctx))
		}
	}
	return errors.Join(errs...)
}

func (n *Node) start() error {
	n.life, n.endLife = context.WithCancel(context.Background())
	if err := n.resolveAddress(); err != nil {
		return err
	}
	if _, err := loop.RaiseFileLimit(); err != nil {
		n.logger.Warn("cannot raise the limit on open files", zap.Error(err))
	}
	usable, err := n.takeDirectories()
	if err != nil {
		return err
	}
	if n.id, err = loadIdentity(usable, randomNodeID); err != nil {
		return err
	}
	n.incarnation = n.started.UnixNano()
	n.space = newSpace(disk.OS(), n.opts.MinFree, n.disks, filepath.Dir(filepath.Dir(n.logDir(0))), n.logger)
	n.space.failed, n.space.changed = n.diskFailed, n.statusChanged
	if n.shared, err = rocks.NewShared(n.opts.Shared); err != nil {
		return err
	}
	n.leases = newNodeLeases(n.id, n.incarnation, n.opts.Timing)
	n.background = lane.New("background", backgroundWorkers, backgroundQueue)
	n.compacting = lane.New("compacting", compactWorkers, backgroundQueue)
	n.learning = lane.New("learning", learningWorkers, backgroundQueue)
	n.fetching = lane.New("fetching", transfer.DefaultTransfers, backgroundQueue)
	n.peerDialer = peer.NewDialer(peerDialers, peerDialQueue)
	if err := n.listenTransfers(); err != nil {
		return err
	}
	n.dialer = lane.New("dialer", 1, 1)
	n.pages = lane.New("pages", pageWorkers, pageQueue)
	for i := range n.opts.Shards {
		sh := n.newShard(proto.ShardID(i))
		n.shards = append(n.shards, sh)
		var err error
		if sh.rows, err = newRowCache(n.opts.Rows, n.opts.Shards); err != nil {
			return fmt.Errorf("row cache of %d bytes: %w", n.opts.Rows, err)
		}
	}
	if err := n.recover(); err != nil {
		return err
	}
	n.space.check()
	for _, r := range n.space.roots() {
		n.watching.Go(func() { n.space.watch(r, n.life.Done()) })
	}
	n.watching.Go(n.cleanUp)
	if err := n.listen(); err != nil {
		return err
	}
	n.link = newMetaLink(n.shards[0])
	n.collector = newCollector(n)
	n.watching.Go(func() { n.collector.run(n.life.Done()) })
	n.complete.Store(true)
	for _, sh := range n.shards {
		sh.deliverLater(&startShard{})
	}
	n.logger.Info("replica server started", zap.Stringer("node", n.id), zap.String("address", n.opts.Listen),
		zap.Int("shards", len(n.shards)), zap.Duration("took", time.Since(n.started)))
	return nil
}

const (
	// learningWorkers read logs and make checkpoints; two, so that a large checkpoint does not hold up log reads.
	learningWorkers = 2
	// peerDialers bound the attempts to reach other nodes that are under way at once.
	peerDialers   = 4
	peerDialQueue = 1 << 12
	// backgroundWorkers flush, open and close stores; two, so that one slow disk does not hold up the other work.
	backgroundWorkers = 2
	// backgroundQueue exceeds the jobs that all partitions of a node can ask for at once: each has at most two.
	backgroundQueue = 1 << 17
)

func randomNodeID() proto.NodeID {
	var id proto.NodeID
	rand.Read(id[:])
	return id
}

// resolveAddress turns the advertised host:port into the forms that replies carry. Apache clients need an IPv4 address.
func (n *Node) resolveAddress() error {
	advertise := n.opts.Advertise
	if advertise == "" {
		advertise = n.opts.Listen
	}
	host, port, err := net.SplitHostPort(advertise)
	if err != nil {
		return fmt.Errorf("advertised address: %w", err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("advertised address %q: %w", advertise, err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(context.Background(), "ip4", host)
	if err != nil || len(ips) == 0 {
		return fmt.Errorf("advertised address %q has no IPv4 address, which Apache clients need: %w", advertise, err)
	}
	n.address = proto.NewRPCAddress(netip.AddrPortFrom(ips[0].Unmap(), uint16(number)))
	n.advertised = proto.NewHostPort(host, uint16(number))
	n.server = []byte(advertise)
	return nil
}

func (n *Node) newShard(id proto.ShardID) *Shard {
	limits := &n.opts.Limits
	sh := &Shard{
		id: id, node: n, opts: &n.opts, logger: n.logger.Named("shard" + strconv.Itoa(int(id))),
		partitions: map[proto.GPID]*partition{},
		apps:       map[int32]proto.AppInfo{},
		tables:     map[int32]proto.TableSettings{},
		forwards:   make([]*forwardBatch, n.opts.Shards),
		replies:    make([]*replyBatch, n.opts.Shards),
		logLane:    lane.New("log"+strconv.Itoa(int(id)), 1, 1, lane.Threads()),
		readLane:   lane.New("read"+strconv.Itoa(int(id)), limits.ReadWorkers, limits.ReadQueue, lane.Threads()),
	}
	sh.peers = newPeers(sh)
	sh.long.lane = lane.New("scan"+strconv.Itoa(int(id)), limits.ReadWorkers, limits.ReadWorkers, lane.Nice(longReadNice), lane.Threads())
	sh.long.budget.percent = int64(limits.ScanShare)
	sh.long.resume = sh.resumeLong
	sh.drained = make(chan struct{})
	sh.logJob.shard = sh
	sh.logJob.submit = sh.logJob.run
	sh.loopWrites.laneUntil = n.leases.now() + laneTime
	return sh
}

// listen starts the event loops. All of them share the node port; each has its own port besides, if there is a base.
func (n *Node) listen() error {
	addrs := []string{n.opts.Listen}
	host, _, err := net.SplitHostPort(n.opts.Listen)
	if err != nil {
		return err
	}
	if n.opts.ShardPort > 0 {
		for i := range n.shards {
			addrs = append(addrs, net.JoinHostPort(host, strconv.Itoa(n.opts.ShardPort+i)))
		}
	}
	if err := loop.CheckPortsFree(addrs); err != nil {
		return err
	}
	for i, sh := range n.shards {
		cfg := loop.Config{
			Name: "shard" + strconv.Itoa(i), Addrs: addrs[:1:1],
			MaxSessions: n.opts.Limits.MaxSessions, MaxInbound: n.opts.Limits.MaxInbound,
			MaxOutbound: n.opts.Limits.MaxOutbound, IdleTimeout: n.opts.Limits.IdleTimeout,
			NormalPolicy: n.opts.NormalPolicy, OnFatal: n.opts.OnFatal, Logger: sh.logger,
		}
		if n.opts.ShardPort > 0 {
			cfg.Addrs = append(cfg.Addrs, addrs[1+i])
		}
		if sh.loop, err = loop.Start[message](cfg, sh); err != nil {
			return err
		}
	}
	return nil
}

// startShard runs on every loop once all of them exist.
type startShard struct{}

func (*startShard) deliver(sh *Shard) {
	sh.started = true
	sh.alignClock()
	sh.tick()
	sh.tickReplicas()
	sh.loop.EachSession((*loop.Session).Release)
	if sh.id == 0 {
		sh.node.leases.beat(sh)
		sh.node.link.connect()
		sh.node.link.status.tick(sh.node.link)
	}
}

// listenTransfers opens the port at which checkpoints are handed out.
func (n *Node) listenTransfers() error {
	ln, err := net.Listen("tcp", n.opts.TransferListen)
	if err != nil {
		return fmt.Errorf("transfer port: %w", err)
	}
	n.transferAddress = proto.NewHostPort(n.advertised.Host, uint16(ln.Addr().(*net.TCPAddr).Port))
	n.transferBudget = transfer.NewBudget(n.opts.TransferRate, transfer.DefaultTransfers)
	n.transfers = transfer.NewServer(ln, transfer.Options{Budget: n.transferBudget})
	return nil
}

// dial connects to a meta off the loop and hands the connection to the link on shard 0.
func (n *Node) dial(address string, link *metaLink) {
	err := n.dialer.Submit(func() {
		conn, err := net.DialTimeout("tcp", address, n.opts.DialTimeout)
		if err == nil {
			err = n.shards[0].loop.Adopt(conn, link)
		}
		if err != nil {
			n.shards[0].deliverLater(&dialFailed{link: link, err: err})
		}
	})
	if err != nil {
		n.shards[0].deliverLater(&dialFailed{link: link, err: err})
	}
}

func (n *Node) owner(g proto.GPID) *Shard { return n.shards[proto.Placement(g, len(n.shards))] }

// assign hands what meta said to the shards: tables and nodes to all, configurations to the owner. With complete set the
// configurations are all that the node serves.
func (n *Node) assign(a *proto.Assignments, complete bool) {
	parts := make([]assignment, len(n.shards))
	for _, c := range a.Partitions {
		i := proto.Placement(c.GPID, len(n.shards))
		parts[i].partitions = append(parts[i].partitions, c)
	}
	for i := range parts {
		parts[i].apps, parts[i].settings, parts[i].nodes, parts[i].complete = a.Apps, a.Settings, a.Nodes, complete
		n.shards[i].deliverLater(&parts[i])
	}
}

func (n *Node) updateConfig(u proto.UpdateConfig) { n.shards[0].deliverLater(&askUpdate{update: u}) }

func (n *Node) reportChanged(p *partition) { n.shards[0].deliverLater(&tellReport{report: p.report()}) }

// reportMissing tells meta that a replica it counts on is not on this node's disks.
func (n *Node) reportMissing(c *proto.PartitionConfig) {
	n.logger.Error("meta names this node for a replica that is not on its disks", zap.Stringer("gpid", c.GPID),
		zap.Int64("ballot", int64(c.Ballot)))
	n.shards[0].deliverLater(&tellReport{report: proto.ReplicaReport{
		GPID: c.GPID, Ballot: c.Ballot, Failure: "no data on this node",
	}})
}

func (n *Node) storeOptions(p *partition) rocks.Options {
	return n.storeOptionsOf(p.gpid, p.app.PartitionCount, &p.settings)
}

// storeOptionsOf are the options of a store of a table with these settings.
func (n *Node) storeOptionsOf(g proto.GPID, partitions int32, s *tableenv.Settings) rocks.Options {
	o := n.opts.Store
	o.Shared = n.shared
	o.Table = tableOptions(s, g, partitions)
	o.Levels = s.Levels
	if w := s.Tuning.WriteBufferBytes; w != 0 {
		o.WriteBufferBytes = w
	}
	return o
}

// Addr is the address that the node listens on, with the real port.
func (n *Node) Addr() string { return n.shards[0].loop.Addrs()[0] }

// ID is the node's identity.
func (n *Node) ID() proto.NodeID { return n.id }

// instanceSeed starts the handles of scan contexts, so that one from before a restart is unknown rather than another's.
func instanceSeed() int64 {
	var b [4]byte
	rand.Read(b[:])
	return int64(binary.LittleEndian.Uint32(b[:])>>1) << 32
}

func (n *Node) logDir(shard int) string {
	base := n.opts.LogDir
	if base == "" {
		base = n.opts.DataDirs[0].Path
	}
	return filepath.Join(base, shardLogsDir, "shard-"+strconv.Itoa(shard))
}
