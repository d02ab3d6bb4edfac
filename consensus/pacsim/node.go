package pacsim

import (
	"time"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/engine/mem"
	"pegasus/netcore/disk"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// Periods of a node's own timers, on its clock.
const (
	nodeTick   = 50 * millisecond
	metaBeacon = 500 * millisecond
	metaPause  = 250 * millisecond // before another meta is tried
	metaSilent = 3 * second
)

// media is what a node's disk holds of one partition beside the log: the store as of its last flush, and the highest ballot acted
// on. Each changes at one instant, because rocks and replica.json are atomic.
type media struct {
	store  *mem.Store
	ballot proto.Ballot
}

// node is one machine and the process on it. What is in the first block survives the process.
type node struct {
	s      *Sim
	id     int // machine
	name   proto.NodeID
	births int // of names
	disk   *disk.Mem
	media  []*media
	rate   float64 // of its clock
	base   int64   // its clock at true time 0
	slow   int64   // extra disk latency
	bytes  int64   // capacity while a disk is full; 0: plenty

	up          bool
	life        int // grows with every start
	pausedUntil int64
	backlog     []func()
	started     int64 // own clock
	steps       int   // boundaries until a planned crash; 0: none planned

	log        *mutlog.Log
	writing    *mutlog.Write
	writes     int // log writes begun
	writesDone int // number of the last one that succeeded
	chores     bool
	choreAfter int64
	leases     *consensus.Leases
	parts      []*replica
	link       metaLink
}

func newNode(s *Sim, id int) *node {
	n := &node{s: s, id: id, rate: 1, media: make([]*media, s.o.Partitions)}
	if s.o.On[FaultDrift] {
		// Up to 5 % either way; lease and grace are 40 % apart.
		n.rate = 0.95 + 0.1*s.rng.Float64()
		n.base = s.rng.Int64N(1000 * second)
	}
	n.format()
	return n
}

// format gives the machine an empty disk; a process on it is a new node.
func (n *node) format() {
	n.births++
	n.name = proto.NodeID{0: byte(n.id + 1), 1: byte(n.births)}
	n.s.slots[n.name] = n.id
	n.s.names = append(n.s.names, n.name)
	n.disk = disk.NewMem(n.s.rng.Uint64())
	n.bytes = 0
	clear(n.media)
}

// clock is the node's monotonic clock. It goes on while the process stands still.
func (n *node) clock() int64 { return n.base + int64(float64(n.s.q.now)*n.rate) + 1 }

// at runs do in the process after d nanoseconds of true time, if that process still lives by then. A paused process does it when
// it wakes up.
func (n *node) after(d int64, do func()) {
	life := n.life
	n.s.q.after(d, func() { n.run(life, do) })
}

func (n *node) run(life int, do func()) {
	switch {
	case !n.up || n.life != life:
	case n.pausedUntil > n.s.q.now:
		n.backlog = append(n.backlog, func() { n.run(life, do) })
	default:
		do()
		n.endTurn()
	}
}

// pause stops the process. Messages and completions wait in kernel buffers.
func (n *node) pause(d int64) {
	if !n.up || n.pausedUntil > n.s.q.now {
		return
	}
	n.s.noteNode(n, "stands still for %d ms", d/millisecond)
	n.pausedUntil = n.s.q.now + d
	life := n.life
	n.s.q.after(d, func() {
		if n.life != life {
			return
		}
		backlog := n.backlog
		n.backlog = nil
		for _, do := range backlog {
			do()
		}
	})
}

func logOptions(o Options) mutlog.Options {
	return mutlog.Options{
		SegmentSize: o.SegmentSize, TotalSize: 48 * o.SegmentSize, MaxRecord: 4 << 10, MaxPending: 64 << 10, MaxPartitions: 16,
		IndexStride: 4 << 10, Recycle: 2,
	}
}

var simTiming = consensus.Timing{
	Beacon: 300 * time.Millisecond, Lease: 1500 * time.Millisecond, Grace: 2500 * time.Millisecond,
	Retry: 500 * time.Millisecond, Announce: 100 * time.Millisecond, HandOver: time.Second,
	Slow: 5 * time.Second, SlowPer: time.Minute,
}

// start brings the process up: recover stores and log, then talk to the world.
func (n *node) start() {
	invariant.Assertf(!n.up, "node %d started twice", n.id)
	n.up = true
	n.life++
	n.pausedUntil, n.backlog, n.steps = 0, nil, 0
	n.writing, n.writes, n.writesDone = nil, 0, 0
	n.chores, n.choreAfter = false, 0
	n.parts = make([]*replica, n.s.o.Partitions)
	n.started = n.clock()
	n.leases = consensus.NewLeases(n.name, uint64(n.life), simTiming, n.clock())
	n.link = metaLink{n: n, next: n.id, leader: -1}
	n.s.noteNode(n, "starts, life %d", int64(n.life))
	if !n.recover() {
		n.up = false
		n.s.q.after(second, n.startIfDown)
		return
	}
	n.watch()
	n.link.connect()
	n.tick()
	n.endTurn()
}

func (n *node) startIfDown() {
	if !n.up {
		n.start()
	}
}

// watch keeps leases with every node that was ever registered: one that is gone for good must be accused all the same.
func (n *node) watch() { n.leases.Watch(n.s.names, n.clock()) }

func (n *node) tick() {
	n.after(int64(float64(nodeTick)/n.rate), func() {
		now := n.clock()
		n.watch()
		for _, send := range n.leases.Beacon(now, nil) {
			n.sendLease(send.To, send.Message)
		}
		for _, r := range n.parts {
			if r != nil && n.up {
				r.step(&consensus.Event{Kind: consensus.EventTick})
				r.tick()
			}
		}
		if n.up {
			n.link.tick()
			n.tick()
		}
	})
}

func (n *node) sendLease(to proto.NodeID, m proto.LeaseMessage) {
	from, bytes := n.name, proto.AppendLeaseMessage(nil, &m)
	n.s.toNode(n, to, func(o *node) {
		var m proto.LeaseMessage
		if err := proto.ParseLeaseMessage(bytes, &m); err != nil {
			invariant.Assertf(false, "lease message: %v", err)
		}
		if answer, ok := o.leases.OnMessage(from, &m, o.clock()); ok {
			o.sendLease(from, answer)
			if beacon, due := o.leases.BeaconAlong(from, o.clock()); due {
				o.sendLease(from, beacon)
			}
		}
	})
}

// endTurn starts what the turn made due: a log write, a chore.
func (n *node) endTurn() {
	if !n.up {
		return
	}
	if n.writing == nil {
		if w := n.log.NextWrite(); w != nil {
			n.writing = w
			n.writes++
			n.after(n.diskTime(), func() { n.complete(w) })
		}
	}
	if !n.chores && n.s.q.now >= n.choreAfter {
		if c := n.log.NextChore(); c != nil {
			n.chores = true
			n.after(n.diskTime(), func() {
				err := c.Do()
				n.chores = false
				if n.log.CompleteChore(c) != nil || err != nil {
					n.choreAfter = n.s.q.now + 200*millisecond
				}
			})
		}
	}
}

// diskTime is what a write with its sync takes.
func (n *node) diskTime() int64 {
	d := 50*microsecond + n.s.rng.Int64N(300*microsecond)
	if n.s.rng.IntN(100) == 0 {
		d += n.s.rng.Int64N(20 * millisecond)
	}
	if n.slow > 0 {
		d += n.slow/2 + n.s.rng.Int64N(n.slow)
	}
	return d
}

func (n *node) complete(w *mutlog.Write) {
	err := w.Do()
	n.writing = nil
	moved, _ := n.log.Complete(w)
	if err == nil {
		n.writesDone = n.writes
	}
	for _, d := range moved {
		r := n.parts[d.GPID.Part]
		if r == nil {
			continue
		}
		if err != nil {
			r.logFailed()
		} else {
			r.synced(mark{d.Ballot, d.Decree})
		}
		if !n.up {
			return
		}
	}
	for _, r := range n.parts {
		if r != nil && n.up {
			r.forgotten()
		}
	}
}

// crash ends the process. A write under way reached the page cache in part; with power gone, the page cache goes too.
func (n *node) crash(power bool) {
	if !n.up {
		return
	}
	if power {
		n.s.noteNode(n, "loses power")
	} else {
		n.s.noteNode(n, "crashes")
	}
	n.up = false
	n.life++
	if n.writing != nil {
		n.tear(n.writing)
		n.writing = nil
	}
	if power {
		n.disk.PowerLoss(n.s.rng)
	}
	for i, m := range n.media {
		if m != nil {
			n.media[i].store = m.store.Reopen()
		}
	}
	n.link.drop()
	n.parts = nil
}

// tear does what a dying machine may have done of a write: nothing, a part, or all of it, synced or not.
func (n *node) tear(w *mutlog.Write) {
	switch n.s.rng.IntN(3) {
	case 0:
		return
	case 1:
		n.disk.Inject(disk.Fault{Op: disk.OpWrite, Keep: n.s.rng.IntN(2000)})
	}
	// Nobody is left to hear of an error.
	_ = w.Do()
	n.disk.ClearFaults()
	n.armDisk()
}

// armDisk renews lasting conditions of the disk.
func (n *node) armDisk() {
	if n.bytes > 0 {
		n.disk.SetCapacity(n.bytes)
	} else {
		n.disk.SetCapacity(1 << 40)
	}
}
