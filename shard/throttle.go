package shard

import (
	"bytes"
	"time"

	"pegasus/netcore/proto"
	"pegasus/shard/tableenv"
)

// Throttles limit what a table may ask of its replicas (spec rrdb 6). A limit of the table is shared equally by its partitions. What
// is to be late is parked on a timer of the loop: the request, or its refusal. Nothing blocks, and what is parked is bounded; past
// the bound a request is refused at once.

// throttle counts the units of the current wall second.
type throttle struct {
	rule          tableenv.Throttle
	delay, reject int64 // units of this replica per second
	second, used  int64
}

func newThrottle(rule tableenv.Throttle, partitions int32) throttle {
	share := func(units int64) int64 { return units/int64(max(partitions, 1)) + 1 }
	return throttle{rule: rule, delay: share(rule.Delay), reject: share(rule.Reject)}
}

// take counts units at a wall second. Refused ones are not counted. Neither is late by more than half of the client's time.
func (t *throttle) take(second, units int64, timeoutMS int32) verdict {
	if !t.rule.Set() {
		return verdict{}
	}
	if second != t.second {
		t.second, t.used = second, 0
	}
	late := func(by time.Duration) time.Duration {
		if timeoutMS > 0 {
			by = min(by, time.Duration(timeoutMS)*time.Millisecond/2)
		}
		return by
	}
	switch {
	case t.rule.HasReject && t.used+units > t.reject:
		return verdict{err: proto.ErrBusy, after: late(t.rule.RejectBy)}
	case t.rule.HasDelay && t.used+units > t.delay:
		t.used += units
		return verdict{after: late(t.rule.DelayBy)}
	}
	t.used += units
	return verdict{}
}

// bucket limits bytes per second, with a second's worth as the burst. What a read costs is known when it is done, so the bucket
// may be in debt.
type bucket struct {
	perSecond int64 // 0 = no limit
	tokens    int64
	at        int64 // loop time of the last refill, nanoseconds
}

func (b *bucket) empty(now int64) bool {
	if b.perSecond == 0 {
		return false
	}
	if b.at == 0 {
		b.tokens = b.perSecond
	} else if since := min(now-b.at, int64(time.Second)); since > 0 {
		b.tokens = min(b.tokens+int64(float64(b.perSecond)*float64(since)/1e9), b.perSecond)
	}
	b.at = now
	return b.tokens <= 0
}

// throttles are those of one replica.
type throttles struct {
	reads, writes, writeBytes, backups throttle
	readBytes                          bucket
}

// newThrottles returns nil when the table has none.
func newThrottles(s *tableenv.Settings, partitions int32) *throttles {
	if !s.ReadThrottle.Set() && !s.WriteThrottle.Set() && !s.WriteBytes.Set() && !s.BackupThrottle.Set() && s.ReadBytes == 0 {
		return nil
	}
	t := &throttles{
		reads: newThrottle(s.ReadThrottle, partitions), writes: newThrottle(s.WriteThrottle, partitions),
		writeBytes: newThrottle(s.WriteBytes, partitions), backups: newThrottle(s.BackupThrottle, partitions),
	}
	if s.ReadBytes > 0 {
		t.readBytes.perSecond = max(s.ReadBytes/int64(max(partitions, 1)), 1)
	}
	return t
}

// read judges a read. A refused backup request gets no reply: the client has asked another replica as well.
func (t *throttles) read(now, second int64, req *proto.Request, delayed bool) verdict {
	var v verdict
	switch {
	case delayed:
	case req.Backup:
		if v = t.backups.take(second, 1, req.TimeoutMS); v.err != proto.ErrOK {
			v.silent, v.after = true, 0
		}
	default:
		v = t.reads.take(second, 1, req.TimeoutMS)
	}
	if v.err == proto.ErrOK && v.after == 0 && t.readBytes.empty(now) {
		v.err = proto.ErrBusy
	}
	return v
}

// write judges a write by number, then by size.
func (t *throttles) write(second int64, req *proto.Request) verdict {
	if v := t.writes.take(second, 1, req.TimeoutMS); v.err != proto.ErrOK || v.after > 0 {
		return v
	}
	return t.writeBytes.take(second, int64(bodyLen(req)), req.TimeoutMS)
}

// spent takes what reads have returned.
func (t *throttles) spent(bytes int64) {
	if t.readBytes.perSecond > 0 {
		t.readBytes.tokens -= bytes
	}
}

// maxParked and maxParkedBytes bound what throttles of one shard hold back.
const (
	maxParked      = 1 << 14
	maxParkedBytes = 64 << 20
)

// park keeps a request, or its refusal, until its time has come.
func (sh *Shard) park(d dest, req *proto.Request, v verdict) {
	if v.err != proto.ErrOK {
		c := call{dest: d, to: req.ReplyTo()}
		if sh.parked >= maxParked {
			sh.fail(&c, v.err)
			return
		}
		sh.parked++
		sh.loop.After(v.after, func() {
			sh.parked--
			sh.fail(&c, v.err)
		})
		return
	}
	size := len(req.Args) + len(req.Name) + len(req.Header)
	if sh.parked >= maxParked || sh.parkedBytes+size > maxParkedBytes {
		sh.fail(&call{dest: d, to: req.ReplyTo()}, proto.ErrBusy)
		return
	}
	sh.parked++
	sh.parkedBytes += size
	later := *req
	later.Args, later.Name, later.Header = bytes.Clone(req.Args), bytes.Clone(req.Name), bytes.Clone(req.Header)
	sh.loop.After(v.after, func() {
		sh.parked--
		sh.parkedBytes -= size
		sh.admit(d, &later, true)
	})
}
