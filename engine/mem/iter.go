package mem

import (
	"bytes"
	"time"

	"pegasus/engine"
	"pegasus/netcore/invariant"
)

type iterator struct {
	s      *Store
	cur    cursor
	stop   []byte // the bound at the far end; empty = none
	tier   engine.Tier
	spent  bool
	closed bool
}

// NewIterator implements engine.Store.
func (s *Store) NewIterator(o engine.IterOptions) (engine.Iterator, error) {
	if err := s.fail(OpScan); err != nil {
		return nil, err
	}
	start, stop := o.Lower, o.Upper
	if o.Reverse {
		start, stop = stop, start
	}
	it := &iterator{s: s, cur: cursor{reverse: o.Reverse}, stop: clone(stop), tier: o.Tier}
	it.cur.seek(s.now.Load().root, start)
	s.iters.Add(1)
	return it, nil
}

// inside tells whether n lies before the far bound.
func (it *iterator) inside(n *node) bool {
	if n == nil || len(it.stop) == 0 {
		return n != nil
	}
	if it.cur.reverse {
		return bytes.Compare(n.key, it.stop) >= 0
	}
	return bytes.Compare(n.key, it.stop) < 0
}

// Next implements engine.Iterator.
func (it *iterator) Next(rows *engine.Rows, l engine.SliceLimit) (more bool, o engine.Outcome, err error) {
	invariant.Assertf(l.MaxRows > 0 || l.MaxBytes > 0 || l.MaxTime > 0, "scan slice without a limit")
	rows.Reset()
	if it.closed {
		return false, engine.Failed, engine.ErrClosed
	}
	if it.spent {
		return false, engine.WouldBlock, nil
	}
	if err := it.s.fail(OpScan); err != nil {
		return false, engine.Failed, err
	}
	start := time.Now()
	for {
		n := it.cur.peek()
		if !it.inside(n) {
			return false, engine.Found, nil
		}
		if it.s.blocks(it.tier, n.key) {
			it.spent = true
			if rows.Len() > 0 {
				return true, engine.Found, nil
			}
			return false, engine.WouldBlock, nil
		}
		it.cur.advance()
		value := n.value
		if l.KeysOnly {
			value = value[:min(len(value), engine.ValueHeaderLen)]
		}
		rows.Append(n.key, value)
		if l.MaxRows > 0 && rows.Len() >= l.MaxRows || l.MaxBytes > 0 && rows.Bytes() >= l.MaxBytes ||
			l.MaxTime > 0 && rows.Len()%16 == 0 && time.Since(start) >= l.MaxTime {
			return it.inside(it.cur.peek()), engine.Found, nil
		}
	}
}

// Close implements engine.Iterator.
func (it *iterator) Close() {
	if !it.closed {
		it.closed = true
		it.s.iters.Add(-1)
	}
}
