package shard

import (
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"pegasus/consensus"
	"pegasus/consensus/mutlog"
	"pegasus/netcore/invariant"
	"pegasus/netcore/proto"
)

// Who carries out a log write. It may take as long as its disk likes, so it belongs to the log lane, and the loop goes on serving. But
// the hand-over costs two wake-ups per write and member, more than the write itself: the loop wakes the lane's thread, which wakes the
// loop again. So the loop does it by itself while nobody has a use for the loop meanwhile: writes that come wait for the log anyway, and
// reads there are none (readQuiet). It does so when the output of the turn has left. Between two writes it goes through its sockets
// twice: once for what came while it wrote, and once for what the answers to that bring, as it has no ears for long then. Acknowledgements
// wait for the loop, too, so where log writes usually take longer (quickWrite) than the wake-ups are worth they are the lane's, and after
// one that took long (slowWrite) for a while (laneTime), as after the start.
//
// What it costs: a write that turns out slow holds up the loop, once. One that never returns takes with it all that the loop serves, so
// the node neither sends nor answers beacons (loopStuck): its leases lapse and the other members go on without it, as if the process
// had died. With the lane its reads would have gone on, and its writes would have waited for the disk.
//
// Measured, official Go client with 1, 16 and 64 callers, four rounds in turn with the lane, everything on two processors: processor
// time of all servers per put 399, 85 and 41 us by the lane, 321, 73 and 28 by the loop; median latency 494, 1,254 and 2,496 us, and
// 459, 1,226 and 1,848.
//
// Rejected: by the loop also beside reads (gets and puts 1:1, 16 in flight: median of a get 136 to 305 us, for 0 to 15 % less
// processor time); without the second look at the sockets (24 % more log writes per put at 64 in flight, 18 % more processor time); the
// lane's thread running the loop's next turn (18 % more at 16, 12 % at 64); io_uring, see package lane.

const (
	readQuiet    = int64(100 * time.Millisecond) // since a client last wanted something else than a write
	quickWrite   = int64(500 * time.Microsecond)
	slowWrite    = 10 * time.Millisecond
	laneTime     = int64(time.Second)
	maxLoopBytes = 256 << 10 // of a write of the loop
)

// loopWrites says which log writes are the loop's.
type loopWrites struct {
	lastRead  int64 // start of the turn that brought one
	laneUntil int64
	due       bool         // what is appended will be written when the output has left
	fresh     bool         // from the end of a write of the loop's until the second look
	since     atomic.Int64 // when the write began that the loop waits for, on the clock of the leases; 0: none
}

// may tells whether log writes are the loop's now, when they usually take so many nanoseconds.
func (l *loopWrites) may(usual, now int64) bool {
	return usual < quickWrite && now >= l.laneUntil && now-l.lastRead >= readQuiet
}

// noteRead looks at a client's request on every loop that it passes.
func (sh *Shard) noteRead(req *proto.Request) {
	if !req.Code.IsWrite() {
		sh.loopWrites.lastRead = sh.turnStart()
	}
}

// loopStuck tells whether a loop has waited for its log for longer than the time between two beacons. Where that is the loop that has
// the leases there are no beacons meanwhile, and there must be none for another one either: part of the node is as good as dead.
func (n *Node) loopStuck(now int64) bool {
	for _, sh := range n.shards {
		if since := sh.loopWrites.since.Load(); since != 0 && now-since > int64(n.opts.Timing.Beacon) {
			return true
		}
	}
	return false
}

// startLogWrite has what has been appended written, unless a write is under way: what comes meanwhile goes with the next one.
func (sh *Shard) startLogWrite() {
	l := &sh.loopWrites
	if sh.logJob.write != nil || sh.opts.LogLane || sh.log.PendingBytes() == 0 || !l.may(sh.logJob.usual, sh.turnStart()) {
		l.due = false
		if sh.nextLogWrite() {
			sh.laneLogWrite()
		}
		return
	}
	l.due = true
}

// Sent does the log write that is the loop's, if there is one. It is called at the end of every turn, when its output has left.
func (sh *Shard) Sent() {
	l := &sh.loopWrites
	if !l.due {
		l.fresh = false
		return
	}
	if l.fresh {
		l.fresh = false
		sh.loop.Again()
		return
	}
	l.due = false
	if !sh.nextLogWrite() {
		return
	}
	if _, bytes := sh.logJob.write.Size(); bytes > maxLoopBytes || sh.logJob.write.Switches() {
		sh.laneLogWrite()
		return
	}
	l.since.Store(sh.node.leases.now())
	sh.logJob.run()
	l.since.Store(0)
	l.fresh = true
	sh.stats.LoopLogWrites++
}

// nextLogWrite makes what has been appended the write in flight. It tells false when there is nothing to write or no room, or one is
// in flight.
func (sh *Shard) nextLogWrite() bool {
	job := &sh.logJob
	if job.stalled {
		return false
	}
	w := sh.log.NextWrite()
	if w == nil {
		return false
	}
	if job.write == nil { // otherwise it is the one that met a full disk
		job.write = w
		job.after, sh.afterLogWrite = sh.afterLogWrite, job.after[:0]
	}
	return true
}

// laneLogWrite hands the write in flight to the log lane.
func (sh *Shard) laneLogWrite() {
	if err := sh.logLane.Submit(sh.logJob.submit); err != nil {
		invariant.Assertf(false, "shard %d: log lane refused its only job: %v", sh.id, err)
	}
}

// maxHold bounds how long log writes take where writes of clients are held for them.
const maxHold = int64(time.Millisecond)

// holds tells whether the mutations of this turn wait until the log write under way is over, and so for more writes of clients: the log
// takes them no sooner, and a mutation, a prepare for each member and a write of the store are shared by more of them. The other
// members' logs could be quicker, by one write at most, so this is done where writes are short and the processor is what counts:
// at 16 and 64 callers in flight 7 and 9 % less of it, with the latency unchanged. Nothing is held when no write is under way.
func (sh *Shard) holds() bool {
	j := &sh.logJob
	return j.write != nil && !j.stalled && j.usual < maxHold
}

// unhold puts the mutations that are held on their way with this turn.
func (sh *Shard) unhold() {
	for _, p := range sh.held {
		if p.state == replicaOpen && p.current != nil {
			p.note(workWrite)
		}
	}
	clear(sh.held)
	sh.held = sh.held[:0]
}

// whenLogged calls fn when everything appended so far is durable, which it may be already, or with the error that lost it.
func (sh *Shard) whenLogged(fn func(error)) {
	switch {
	case sh.log.PendingBytes() > 0:
		sh.afterLogWrite = append(sh.afterLogWrite, fn)
		sh.startLogWrite()
	case sh.logJob.write != nil:
		sh.logJob.after = append(sh.logJob.after, fn)
	default:
		fn(nil)
	}
}

// logJob is the one log write in flight; it is reused, as there is never a second one.
type logJob struct {
	shard *Shard
	write *mutlog.Write
	// stalled: write met a full disk; it is tried again with the next tick.
	stalled bool
	took    time.Duration // of the write
	usual   int64         // nanoseconds that the last writes took, the newest counting most
	after   []func(error) // to be called when this write is over
	submit  func()        // run, bound once; the lane's
}

func (j *logJob) run() {
	began := time.Now()
	// Complete hands out the error, together with the partitions that it concerns.
	_ = j.write.Do()
	j.took = time.Since(began)
	j.shard.deliverLater(j)
}

func (j *logJob) deliver(sh *Shard) {
	w := j.write
	records, bytes := w.Size()
	moved, err := sh.log.Complete(w)
	if errors.Is(err, mutlog.ErrNoSpace) {
		j.stalled = true
		sh.node.space.hit()
		sh.logger.Warn("shard log has no space; its write waits", zap.Error(err))
		return
	}
	j.write = nil
	j.usual += (int64(j.took) - j.usual) / 8
	if j.took > slowWrite {
		sh.loopWrites.laneUntil = sh.turnStart() + laneTime
	}
	sh.unhold()
	sh.logMeter.wrote(j.took, records, bytes)
	now := sh.turnStart()
	for i, d := range moved {
		if i%warmAhead == 0 && sh.cold() {
			for _, d := range moved[i:min(i+warmAhead, len(moved))] {
				sh.warm.add(sh.partitions[d.GPID])
			}
			sh.warm.fetch()
		}
		p := sh.partitions[d.GPID]
		switch {
		case p == nil || p.state != replicaOpen:
		case err == nil:
			p.noteLogged(d.Decree, now)
			p.step(&consensus.Event{Kind: consensus.EventLogSynced, Ballot: d.Ballot, Decree: d.Decree})
		default:
			p.step(&consensus.Event{Kind: consensus.EventLogFailed})
			p.quarantine("shard log: " + err.Error())
		}
	}
	if err != nil {
		sh.logger.Error("shard log write failed", zap.Error(err))
	}
	for _, fn := range j.after {
		fn(err)
	}
	clear(j.after)
	j.after = j.after[:0]
	sh.startChore()
}
