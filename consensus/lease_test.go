package consensus

import (
	"slices"
	"testing"
	"time"

	"pegasus/netcore/proto"
)

// Two nodes that began to beacon at different times fall into step: one asks, the other answers and asks along with it. A beacon is
// never later than the call after its time, and no lease is ever lost.
func TestBeaconsFallIntoStep(t *testing.T) {
	timing := DefaultTiming()
	call, ms := int64(timing.Beacon/BeaconCalls), int64(time.Millisecond)
	for offset := int64(0); offset < int64(timing.Beacon); offset += 7 * ms {
		var nodes [2]*Leases
		for i := range nodes {
			nodes[i] = NewLeases(trioNode(i), uint64(i+1), timing, 0)
			nodes[i].Watch([]proto.NodeID{trioNode(1 - i)}, 0)
		}
		var last [2]int64 // beacon of each
		wakes := 0        // by messages
		var send func(from int, m proto.LeaseMessage, now int64)
		send = func(from int, m proto.LeaseMessage, now int64) {
			wakes++
			to := nodes[1-from]
			if !m.Ack {
				if gap := now - last[from]; gap > int64(timing.Beacon)+call {
					t.Errorf("offset %d ms: %d ms between two beacons of node %d", offset/ms, gap/ms, from)
				}
				last[from] = now
			}
			answer, ok := to.OnMessage(trioNode(from), &m, now)
			if !ok {
				return
			}
			send(1-from, answer, now)
			if beacon, due := to.BeaconAlong(trioNode(from), now); due {
				send(1-from, beacon, now)
				wakes-- // it came with the answer
			}
		}
		last[1] = offset
		const rounds = 20
		for now := int64(ms); now < rounds*int64(timing.Beacon); now += ms {
			if now == 5*int64(timing.Beacon) {
				wakes = 0 // they are in step by now
			}
			for i := range nodes {
				// Timers fire a little late, by different amounts.
				if begin := int64(i) * offset; now < begin || (now-begin)%call != now/call%3*ms {
					continue
				}
				for _, s := range nodes[i].Beacon(now, nil) {
					send(i, s.Message, now)
				}
				if now > 2*int64(timing.Beacon) && !nodes[i].Valid(trioNode(1-i), now) {
					t.Fatalf("offset %d ms: node %d has no lease at %d ms", offset/ms, i, now/ms)
				}
			}
		}
		// In each interval a beacon, its answer with the other beacon, and the answer to that.
		if limit := 3 * (rounds - 5 + 1); wakes > limit {
			t.Errorf("offset %d ms: nodes were woken %d times, want %d at most", offset/ms, wakes, limit)
		}
	}
}

// A beacon goes along only when one is due before long, and only to a node that is watched.
func TestBeaconAlong(t *testing.T) {
	timing := DefaultTiming()
	l := NewLeases(trioNode(0), 1, timing, 1)
	l.Watch([]proto.NodeID{trioNode(1)}, 1)
	if _, due := l.BeaconAlong(trioNode(2), 1); due {
		t.Error("a beacon to a node that is not watched")
	}
	var sent []int64
	for now := int64(1); now < int64(timing.Beacon)*2; now += int64(time.Millisecond) {
		if m, due := l.BeaconAlong(trioNode(1), now); due {
			if m.Ack || m.SentAt != now || m.Incarnation != 1 {
				t.Fatalf("at %d: %+v", now, m)
			}
			sent = append(sent, now)
		}
		if out := l.Beacon(now, nil); len(out) > 0 {
			t.Fatalf("at %d a beacon is due that went along just now", now)
		}
	}
	half := int64(timing.Beacon) / 2
	if want := []int64{1, 1 + half, 1 + 2*half, 1 + 3*half}; !slices.Equal(sent, want) {
		t.Errorf("sent at %d, want %d", sent, want)
	}
}
