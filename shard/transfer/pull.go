package transfer

import (
	"context"
	"fmt"
)

// wanted is a block of the manifest.
type wanted struct{ file, block int }

// pull asks for the missing blocks of a connection and takes what comes. It keeps the answers it waits for in the order of
// the questions, which is the server's order.
type pull struct {
	f       *fetch
	l       *link
	asked   []wanted // a ring of count questions, the oldest at first
	first   int
	count   int
	bytes   int    // of what is asked
	at      wanted // where to look for the next missing block
	again   []wanted
	damaged int // blocks in a row
}

// pull fetches until nothing is missing.
func (f *fetch) pull(ctx context.Context, l *link) error {
	p := &pull{f: f, l: l, asked: make([]wanted, MaxWindow)}
	for f.st.missing > 0 {
		next, some := p.next()
		if some && p.fits(next) {
			ok, err := p.permit(ctx, f.st.files[next.file].info.blockLen(next.block))
			if err != nil {
				return err
			}
			if ok {
				if err := p.ask(next); err != nil {
					return err
				}
				continue
			}
		}
		if err := p.receive(); err != nil {
			return err
		}
	}
	return nil
}

// permit takes n bytes from the budget. As long as answers are on their way it does not wait for permission: they are
// received first, so that the server's writes never wait for this end's budget.
func (p *pull) permit(ctx context.Context, n int) (bool, error) {
	moved := &p.f.o.Budget.moved
	if p.count > 0 {
		return moved.tryTake(n), nil
	}
	return true, moved.take(ctx, n)
}

// next is the block to ask for next, not yet marked as asked.
func (p *pull) next() (wanted, bool) {
	if n := len(p.again); n > 0 {
		return p.again[n-1], true
	}
	for files := p.f.st.files; p.at.file < len(files); p.at = (wanted{file: p.at.file + 1}) {
		f := &files[p.at.file]
		if f.missing == 0 {
			continue
		}
		for ; p.at.block < f.blocks(); p.at.block++ {
			if !f.have.has(p.at.block) {
				return p.at, true
			}
		}
	}
	return wanted{}, false
}

// fits tells whether the window has room.
func (p *pull) fits(w wanted) bool {
	n := p.f.st.files[w.file].info.blockLen(w.block)
	return p.count == 0 || p.count < len(p.asked) && p.bytes+n <= p.f.o.Window*BlockSize
}

func (p *pull) ask(w wanted) error {
	if n := len(p.again); n > 0 {
		p.again = p.again[:n-1]
	} else {
		p.at.block++
	}
	p.asked[(p.first+p.count)%len(p.asked)] = w
	p.count++
	p.bytes += p.f.st.files[w.file].info.blockLen(w.block)
	return p.l.send(header{kind: kindGet, file: uint32(w.file), offset: int64(w.block) * BlockSize}, nil)
}

// receive takes the answer to the oldest question.
func (p *pull) receive() error {
	h, err := p.l.answer(kindBlock, BlockSize)
	if err != nil {
		return err
	}
	if p.count == 0 {
		return fmt.Errorf("%w: a block that was not asked for", errProtocol)
	}
	w := p.asked[p.first]
	info := p.f.st.files[w.file].info
	n := info.blockLen(w.block)
	if h.id != p.f.id || int64(h.file) != int64(w.file) || h.offset != int64(w.block)*BlockSize || h.length != n {
		return fmt.Errorf("%w: %d bytes at %d of file %d, asked for block %d of file %d", errProtocol, h.length, h.offset, h.file, w.block, w.file)
	}
	p.first, p.count, p.bytes = (p.first+1)%len(p.asked), p.count-1, p.bytes-n
	block := p.f.block[:n]
	intact, err := p.l.body(h, block)
	if err != nil {
		return err
	}
	if !intact {
		return p.damage(w)
	}
	if h.sum != info.Blocks[w.block] {
		return fmt.Errorf("%w: block %d of %s is not the one of the manifest", ErrSource, w.block, info.Name)
	}
	if err := p.f.st.put(w.file, w.block, block); err != nil {
		return err
	}
	p.damaged = 0
	p.f.prog.Fetched += int64(n)
	p.f.report()
	return nil
}

// damage asks again for a block that came damaged. The frame around it was good, so the connection is still in step.
func (p *pull) damage(w wanted) error {
	p.f.prog.Damaged++
	if p.damaged++; p.damaged >= p.f.o.Attempts {
		return fmt.Errorf("%w: %d blocks in a row", errDamaged, p.damaged)
	}
	p.again = append(p.again, w)
	p.f.report()
	return nil
}
