package rrdb

import (
	"bytes"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// Scanner is a scan: GET_SCANNER makes it and is its first batch, each SCAN is another one. The snapshot is that of the
// first batch; expiry is judged by the time of the batch.
//
// The caller keeps scanners that are Unfinished in a table under handles that it draws (positive, a new one per batch),
// and drops them when nobody has come for them. A batch goes like any Read; between Run and AppendReply:
//
//	if sc.Unfinished() { sc.SetHandle(table.put(sc)) }
//
// and a scanner that is not Unfinished is closed after its reply.
//
// An iterator that reads from memory only dies at the first block that is not there, and its snapshot with it. A scan
// that outlives its first batch must therefore have an iterator that may block, so a first batch that was read from
// memory and turns out not to be the last says WouldBlock and is read again. A scan in total order does not even try.
type Scanner struct {
	rangeRead
	batch   int
	handle  int64
	total   bool // walks the whole partition, not one hash key
	later   bool // not the first batch
	invalid bool
	empty   bool // nothing to scan: a reply of its own kind
}

// NewScanner makes the scanner of a GET_SCANNER. An error means that the arguments do not decode.
func NewScanner(store engine.Store, env *Env, args []byte) (*Scanner, error) {
	var m proto.GetScannerRequest
	if err := m.DecodeArgs(args); err != nil {
		return nil, err
	}
	s := &Scanner{}
	s.init(store, env)
	s.hashFilter = filter{kind: m.HashFilterType, pattern: bytes.Clone(m.HashFilter)}
	s.sortFilter = filter{kind: m.SortFilterType, pattern: bytes.Clone(m.SortFilter)}
	s.invalid = !m.HashFilterType.Valid() || !m.SortFilterType.Valid() || !ValidKey(m.Start) ||
		s.hashFilter.prefix() && !validHashKey(m.HashFilter)
	if s.invalid {
		s.end = complete
		return s, nil
	}
	s.batch = env.Limits.ScanMaxIter
	if m.BatchSize > 0 {
		s.batch = min(s.batch, int(m.BatchSize))
	}
	s.maxCount, s.maxIter, s.maxBytes = s.batch, env.Limits.ScanMaxIter, env.Limits.MaxReplyBytes
	s.noValue, s.withExpire, s.countOnly = m.NoValue, m.ReturnExpire.Or(false), m.OnlyReturnCount.Or(false)
	s.validateHash = m.ValidateHash.Or(true)
	s.setRange(&m)
	return s, nil
}

// setRange works out what the iterator may see. Hash keys are ordered by length first, so a prefix filter can only move
// the start. The stop key does not bound the iterator, see rangeRead.
func (s *Scanner) setRange(m *proto.GetScannerRequest) {
	hashKey, _, _ := engine.SplitKey(m.Start)
	s.total = len(hashKey) == 0 || m.FullScan.Or(false)
	start, startInclusive := bytes.Clone(m.Start), m.StartInclusive
	if s.hashFilter.prefix() {
		if prefix := engine.AppendKey(nil, s.hashFilter.pattern, nil); bytes.Compare(prefix, start) > 0 {
			start, startInclusive = prefix, true
		}
	}
	if emptyRange(start, startInclusive, m.Stop, m.StopInclusive) {
		s.empty, s.end = true, complete
		return
	}
	s.far, s.farInclusive = bytes.Clone(m.Stop), m.StopInclusive
	s.opts.Lower = lowerBound(start, startInclusive)
	if s.total {
		s.opts.NoFillCache = true
		return
	}
	s.opts.Upper = engine.AppendNextHashKey(nil, hashKey)
}

// Run goes on with the current batch; see Read.
func (s *Scanner) Run(tier engine.Tier, budget engine.SliceLimit) (State, error) {
	if s.end != running {
		return s.rangeRead.Run(tier, budget)
	}
	if tier == engine.TierCache && (s.later || s.total) {
		return WouldBlock, nil
	}
	if tier == engine.TierAll && s.it != nil && s.opts.Tier == engine.TierCache {
		s.restart()
	}
	state, err := s.rangeRead.Run(tier, budget)
	if state == Done && s.end == limited && tier == engine.TierCache {
		s.restart()
		return WouldBlock, nil
	}
	return state, err
}

// Long tells whether this batch is one of many: the scan is of a whole partition, or has had a batch before.
func (s *Scanner) Long() bool { return s.total || s.later }

// Unfinished tells whether there is more to scan after a batch that is Done.
func (s *Scanner) Unfinished() bool { return s.end == limited }

// SetHandle sets the context id that the reply of this batch names.
func (s *Scanner) SetHandle(handle int64) { s.handle = handle }

// NextBatch begins the batch of a SCAN. Only a scanner that is Unfinished has one. Unlike the first batch it looks at no
// more records than it may return, so it can come out empty and still be Unfinished (recorded).
func (s *Scanner) NextBatch(env *Env) {
	s.env = *env
	s.clear()
	s.maxIter, s.later, s.handle = s.batch, true, proto.ScanNone
}

// AppendReply appends the result struct of the batch. It is called once per batch.
func (s *Scanner) AppendReply(dst []byte) []byte {
	reply := proto.ScanResponse{GPID: s.env.GPID, Server: s.env.Server}
	switch {
	case s.invalid:
		reply.Error = proto.StorageInvalidArgument
	case s.empty: // context id 0, no count
	case s.end == failed:
		reply.Error = storageStatus(s.err)
	default:
		reply.KVs, reply.Context = s.results(), proto.ScanCompleted
		reply.Count, reply.HasCount = int32(s.count), s.countOnly
		if s.end == limited {
			reply.Context = s.handle
		} else if s.end == timedOut {
			reply.Error, reply.Context = proto.StorageIncomplete, proto.ScanNone
		}
	}
	dst = reply.AppendResult(dst)
	if s.Unfinished() && s.bytes > keptBytes {
		s.shrink()
	}
	return dst
}

// shrink gives back the memory of large results before the scanner is parked and keeps only the rows still to be taken.
func (s *Scanner) shrink() {
	rest := new(arena)
	n := 0
	s.mem.rows.Each(func(key, value []byte) bool {
		if n++; n > s.taken {
			rest.rows.Append(key, value)
		}
		return true
	})
	s.mem, s.taken = rest, 0
}

// AppendNoScannerReply appends the result of a SCAN whose context is unknown or has expired.
func AppendNoScannerReply(dst []byte, env *Env) []byte {
	reply := proto.ScanResponse{Error: proto.StorageNotFound, GPID: env.GPID, Server: env.Server}
	return reply.AppendResult(dst)
}
