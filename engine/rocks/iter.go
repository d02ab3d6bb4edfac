package rocks

// #include "shim.h"
import "C"

import (
	"fmt"
	"time"

	"pegasus/engine"
	"pegasus/netcore/invariant"
)

type iterator struct {
	s     *Store
	c     *C.pg_iter
	spent bool // WouldBlock was answered
}

// firstArena is what an empty Rows starts with.
const firstArena = 16 << 10

// maxRowsBytes bounds the arena of one slice, whatever the caller's limits are.
const maxRowsBytes = 1 << 30

// NewIterator implements engine.Store. A range within one hash key skips the files whose filters exclude it.
func (s *Store) NewIterator(o engine.IterOptions) (engine.Iterator, error) {
	if !s.gate.enter() {
		return nil, engine.ErrClosed
	}
	defer s.gate.leave()
	var st C.pg_status
	flags := flag(o.Reverse, C.PG_REVERSE) | flag(o.Tier == engine.TierCache, C.PG_CACHE_ONLY) | flag(o.NoFillCache || s.noFill.Load(), C.PG_NO_FILL)
	c := C.pg_iter_new(s.c, chars(o.Lower), C.size_t(len(o.Lower)), chars(o.Upper), C.size_t(len(o.Upper)), flags, &st)
	if err := statusErr(&st); err != nil {
		return nil, err
	}
	s.iters.Add(1)
	return &iterator{s: s, c: c}, nil
}

// Next implements engine.Iterator.
func (it *iterator) Next(rows *engine.Rows, l engine.SliceLimit) (more bool, o engine.Outcome, err error) {
	invariant.Assertf(l.MaxRows > 0 || l.MaxBytes > 0 || l.MaxTime > 0, "scan slice without a limit")
	rows.Reset()
	if it.c == nil {
		return false, engine.Failed, engine.ErrClosed
	}
	if it.spent {
		return false, engine.WouldBlock, nil
	}
	cut := C.uint32_t(0)
	if l.KeysOnly {
		cut = C.uint32_t(it.s.version.HeaderLen())
	}
	// A limit below a microsecond is still a limit.
	budget := C.int64_t((l.MaxTime + time.Microsecond - 1).Microseconds())
	var st C.pg_status
	var slice C.pg_slice
	buf := rows.Arena()
	for {
		rc := C.pg_iter_next(it.c, chars(buf), C.uint64_t(cap(buf)), C.uint64_t(l.MaxRows), C.uint64_t(l.MaxBytes), budget, cut,
			&slice, &st)
		buf = buf[:slice.used]
		rows.SetArena(buf, int(slice.rows))
		switch rc {
		case C.PG_END:
			return false, engine.Found, nil
		case C.PG_MORE:
			return true, engine.Found, nil
		case C.PG_BLOCKED:
			it.spent = true
			return false, engine.WouldBlock, nil
		case C.PG_ERROR:
			rows.Reset()
			return false, engine.Failed, statusErr(&st)
		}
		need := len(buf) + int(slice.need)
		if need > maxRowsBytes {
			if slice.rows > 0 {
				return true, engine.Found, nil
			}
			return false, engine.Failed, fmt.Errorf("%w: a row of %d bytes", ErrBatchTooLarge, slice.need)
		}
		buf = append(make([]byte, 0, max(firstArena, 2*need)), buf...)
	}
}

// Close implements engine.Iterator.
func (it *iterator) Close() {
	if it.c != nil {
		C.pg_iter_free(it.c)
		it.c = nil
		it.s.iters.Add(-1)
	}
}
