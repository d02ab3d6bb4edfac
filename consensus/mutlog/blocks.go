package mutlog

import (
	"pegasus/netcore/disk"
	"pegasus/netcore/invariant"
)

// blocks writes a segment in whole blocks, so that the bytes can go to the disk from here, past the page cache: cheaper, by half for a
// write of 20 KiB, and what nobody reads again takes no memory. The last block of a write is filled with zeros, and written once more,
// with the same beginning, by the next. Where writes go to the page cache, a part of a block that is not in there would make the
// kernel read it first.
type blocks struct {
	buf  []byte               // of the file system's alignment
	head [disk.BlockSize]byte // what the file has from the last multiple of BlockSize on
	have int                  // bytes of head
	tail []byte               // of buf: what becomes head
}

// writeSize bounds the memory for writes that do not end soon; a larger one goes in pieces.
const writeSize = 256 << 10

// begin starts a segment, which begins with header.
func (b *blocks) begin(header []byte) { b.have = copy(b.head[:], header) }

// write writes parts at off, where the last one ended that was accepted; until then it may be called again with the same. through: past
// the page cache. Nothing is synced here.
func (b *blocks) write(f disk.File, off int64, through bool, parts ...[]byte) error {
	if int(off&(disk.BlockSize-1)) != b.have { // tested here: the arguments of Assertf would be allocated
		invariant.Assertf(false, "write at %d, the last one ended %d bytes into a block", off, b.have)
	}
	if b.buf == nil {
		b.buf = disk.Blocks(writeSize)
	}
	at := off - int64(b.have)
	n := copy(b.buf, b.head[:b.have])
	put := func(to int) (err error) {
		if through {
			err = f.WriteBlocks(b.buf[:to], at)
		} else {
			_, err = f.WriteAt(b.buf[:to], at)
		}
		at += int64(to)
		return err
	}
	for _, p := range parts {
		for len(p) > 0 {
			k := copy(b.buf[n:], p)
			p, n = p[k:], n+k
			if n == len(b.buf) {
				if err := put(n); err != nil {
					return err
				}
				n = 0
			}
		}
	}
	tail := n & (disk.BlockSize - 1)
	if n > 0 {
		end := n
		if tail > 0 {
			end += copy(b.buf[n:], zeros[:disk.BlockSize-tail])
		}
		if err := put(end); err != nil {
			return err
		}
	}
	b.tail = b.buf[n-tail : n]
	return nil
}

// accept tells that what was written last is there to stay.
func (b *blocks) accept() { b.have = copy(b.head[:], b.tail) }
