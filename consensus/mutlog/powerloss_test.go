package mutlog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// machine drives a log as a shard would, against a disk that fails, and remembers what the log promised.
type machine struct {
	rng  *rand.Rand
	disk *disk.Mem
	o    Options
	log  *Log
	w    *Write
	c    *Chore

	stores map[proto.GPID]*store
	// replace lets new ballots replace tails.
	replace bool
}

// store is the model of a partition: its flushed state, what the log reported durable and what was appended.
type store struct {
	flushed, durable, appended proto.Decree
	// top is the highest decree appended in this boot: a tail that was replaced only in memory may come back.
	top    proto.Decree
	ballot proto.Ballot
	// written maps each decree to the ballots under which it was ever appended, for the content check.
	written     map[proto.Decree][]proto.Ballot
	quarantined bool
}

const machineParts = 4

func newMachine(seed uint64, sync SyncMode) *machine {
	m := &machine{rng: rand.New(rand.NewPCG(seed, 7)), disk: disk.NewMem(seed), o: small(), stores: map[proto.GPID]*store{}}
	m.o.Sync, m.replace = sync, true
	m.o.TotalSize = 6 * m.o.SegmentSize
	m.o.Flushed = func(g proto.GPID) proto.Decree { return m.stores[g].flushed }
	for n := range machineParts {
		m.stores[gpid(n)] = &store{ballot: 1, written: map[proto.Decree][]proto.Ballot{}}
	}
	return m
}

// open recovers and compares with what was promised.
func (m *machine) open() error {
	got := replayed{}
	l, rep, err := Open(m.disk, "/log", m.o, got.take)
	if err != nil {
		return err
	}
	m.log, m.w, m.c = l, nil, nil
	if len(rep.Spoiled) > 0 || rep.Suspect {
		return fmt.Errorf("nothing rotted, but spoiled %v, suspect %v", rep.Spoiled, rep.Suspect)
	}
	for n := range machineParts {
		g := gpid(n)
		s := m.stores[g]
		last, ballot := s.flushed, proto.Ballot(0)
		for _, r := range got[g] {
			if r.Decree != last+1 || r.Ballot < ballot {
				return fmt.Errorf("%v: decree %d, ballot %d after %d, %d", g, r.Decree, r.Ballot, last, ballot)
			}
			last, ballot = r.Decree, r.Ballot
			if !slices.Contains(s.written[r.Decree], r.Ballot) || !sameRecord(r, rec(g, r.Decree, r.Ballot, sizeOf(r.Decree))) {
				return fmt.Errorf("%v: decree %d is not what was appended", g, r.Decree)
			}
		}
		if last < s.durable {
			return fmt.Errorf("%v: durable up to %d, replayed up to %d", g, s.durable, last)
		}
		if last > s.top {
			return fmt.Errorf("%v: appended up to %d, replayed up to %d", g, s.top, last)
		}
		s.appended, s.durable, s.top, s.quarantined = last, last, last, false
		s.ballot++
	}
	return nil
}

func sizeOf(d proto.Decree) int { return int(d*37) % 300 }

func (m *machine) append() error {
	g := gpid(m.rng.IntN(machineParts))
	s := m.stores[g]
	d := s.appended + 1
	if m.replace && m.rng.IntN(40) == 0 && s.appended > s.flushed+1 {
		// A new ballot replaces what is not flushed; the replaced part is no longer promised.
		d = s.flushed + 1 + proto.Decree(m.rng.Int64N(int64(s.appended-s.flushed)))
		s.ballot++
	}
	r := rec(g, d, s.ballot, sizeOf(d))
	err := m.log.Append(&r)
	switch {
	case err == nil:
		s.appended = d
		s.top = max(s.top, d)
		s.durable = min(s.durable, d-1)
		s.written[d] = append(s.written[d], s.ballot)
	case errors.Is(err, ErrBusy), errors.Is(err, ErrFull):
	case errors.Is(err, ErrQuarantined) && s.quarantined:
		// The store keeps what it has and starts anew in the log.
		s.flushed, s.appended = s.durable, s.durable
		m.log.Forget(g)
		s.quarantined = false
		s.ballot++
	default:
		return fmt.Errorf("append %v %d: %w", g, d, err)
	}
	return nil
}

func (m *machine) step() error {
	switch k := m.rng.IntN(20); {
	case k < 10:
		return m.append()
	case k < 13 && m.w == nil:
		m.w = m.log.NextWrite()
	case k < 16 && m.w != nil:
		// Do and Complete in one step: what matters is what was appended in between.
		doErr := m.w.Do()
		durable, err := m.log.Complete(m.w)
		m.w = nil
		if (doErr == nil) != (err == nil) {
			return fmt.Errorf("do said %v, complete %v", doErr, err)
		}
		for _, d := range durable {
			s := m.stores[d.GPID]
			if err == nil {
				s.durable = d.Decree
				continue
			}
			s.quarantined = true
			if d.Decree < s.durable {
				return fmt.Errorf("%v: failed back to %d, durable was %d", d.GPID, d.Decree, s.durable)
			}
		}
	case k < 18:
		if m.c == nil {
			m.c = m.log.NextChore()
		} else {
			// An error comes again from CompleteChore; the chore is repeated by a later step.
			_ = m.c.Do()
			_ = m.log.CompleteChore(m.c)
			m.c = nil
		}
	case k == 18:
		g := gpid(m.rng.IntN(machineParts))
		if h, _, ok := m.log.OldestHolder(anyHelps); ok && m.rng.IntN(2) == 0 {
			g = h
		}
		if s := m.stores[g]; s.durable > s.flushed {
			s.flushed += 1 + proto.Decree(m.rng.Int64N(int64(s.durable-s.flushed)))
			m.log.FlushedUpTo(g, s.flushed)
		}
	}
	return nil
}

func (m *machine) inject() {
	ops := []disk.Op{disk.OpWrite, disk.OpSync, disk.OpSyncDir, disk.OpPreallocate, disk.OpRename, disk.OpRemove, disk.OpCreate, disk.OpOpen}
	m.disk.Inject(disk.Fault{Op: ops[m.rng.IntN(len(ops))], Nth: 1 + m.rng.IntN(10), Keep: m.rng.IntN(400)})
}

// TestPowerLossKeepsWhatWasReportedDurable: many lives, each of several boots, with and without I/O errors in between.
func TestPowerLossKeepsWhatWasReportedDurable(t *testing.T) {
	segments, lives := 0, uint64(200)
	if testing.Short() {
		lives = 50
	}
	for seed := range lives {
		m := newMachine(seed, SyncGroup)
		for boot := range 6 {
			if err := m.open(); err != nil {
				t.Fatalf("seed %d boot %d: %v", seed, boot, err)
			}
			for step := range 50 + m.rng.IntN(400) {
				if seed%2 == 1 && m.rng.IntN(60) == 0 {
					m.inject()
				}
				if err := m.step(); err != nil {
					t.Fatalf("seed %d boot %d step %d: %v", seed, boot, step, err)
				}
			}
			segments += len(m.log.segments)
			m.disk.ClearFaults()
			m.disk.PowerLoss(m.rng)
		}
	}
	if segments < int(lives)*6 {
		t.Fatalf("only %d segments in %d lives: the logs are too short to mean anything", segments, lives)
	}
}

// TestProcessCrashInOSMode: without fdatasync the end of the process alone loses nothing.
func TestProcessCrashInOSMode(t *testing.T) {
	for seed := range uint64(60) {
		m := newMachine(seed, SyncOS)
		for boot := range 4 {
			if err := m.open(); err != nil {
				t.Fatalf("seed %d boot %d: %v", seed, boot, err)
			}
			for range 300 {
				if err := m.step(); err != nil {
					t.Fatalf("seed %d boot %d: %v", seed, boot, err)
				}
			}
			// Files stay open: the old process is simply not asked any more.
		}
	}
}

// TestPowerLossInOSModeCutsTails: what survives is a true prefix of every partition, and losing the rest is not rot.
func TestPowerLossInOSModeCutsTails(t *testing.T) {
	for seed := range uint64(100) {
		m := newMachine(seed, SyncOS)
		m.replace = false
		for boot := range 4 {
			if err := m.open(); err != nil {
				t.Fatalf("seed %d boot %d: %v", seed, boot, err)
			}
			for range 200 {
				if err := m.step(); err != nil {
					t.Fatalf("seed %d boot %d: %v", seed, boot, err)
				}
			}
			m.disk.PowerLoss(m.rng)
			for _, s := range m.stores {
				s.durable = s.flushed
			}
		}
	}
}
