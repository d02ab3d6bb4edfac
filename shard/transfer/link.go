package transfer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// link is one end of a connection: frames out under a lock, frames in from one goroutine. An end that is busy for long,
// waiting for permission to send or verifying what it has, still shows life; so silence means that the other end is gone,
// and a timeout can be short without knowing how fast the other end may work.
type link struct {
	conn    net.Conn
	id      uint64
	timeout time.Duration
	in      *bufio.Reader
	head    [headerLen]byte // of the frame being read

	mu  sync.Mutex // one frame at a time goes out
	out []byte     // room for small frames
}

func newLink(conn net.Conn, id uint64, timeout time.Duration) *link {
	return &link{conn: conn, id: id, timeout: timeout, in: bufio.NewReaderSize(conn, 32<<10)}
}

// keepAlive shows life until ctx ends. A failed write will be seen by whoever reads.
func (l *link) keepAlive(ctx context.Context) {
	t := time.NewTicker(aliveEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if l.send(header{kind: kindAlive}, nil) != nil {
				return
			}
		}
	}
}

// send writes a frame. The body is copied: for blocks there is sendBlock.
func (l *link) send(h header, body []byte) error {
	h.id, h.length, h.sum = l.id, len(body), sumOf(body)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out = append(append(l.out[:0], make([]byte, headerLen)...), body...)
	h.put(l.out)
	return l.write(l.out)
}

// sendBlock writes a frame whose body stands in buf behind headerLen free bytes and has the checksum h.sum.
func (l *link) sendBlock(h header, buf []byte) error {
	h.id, h.length = l.id, len(buf)-headerLen
	h.put(buf)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write(buf)
}

// write gives each maxWrite bytes the whole timeout.
func (l *link) write(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), maxWrite)
		if err := l.conn.SetWriteDeadline(time.Now().Add(l.timeout)); err != nil {
			return err
		}
		if _, err := l.conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// maxWrite is the largest write: a block and its header.
const maxWrite = headerLen + BlockSize

// next reads a header. Its body, if any, has to be read next.
func (l *link) next(maxBody int) (h header, err error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(l.timeout)); err != nil {
		return h, err
	}
	if _, err := io.ReadFull(l.in, l.head[:]); err != nil {
		return h, err
	}
	if err := h.parse(l.head[:]); err != nil {
		return h, err
	}
	if h.length > maxBody || (h.kind == kindAlive && h.length != 0) {
		return h, fmt.Errorf("%w: a body of %d bytes", errProtocol, h.length)
	}
	return h, nil
}

// body reads into p, which must have the length that the header said, and tells whether p has its checksum.
func (l *link) body(h header, p []byte) (intact bool, err error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(l.timeout)); err != nil {
		return false, err
	}
	if _, err := io.ReadFull(l.in, p); err != nil {
		return false, err
	}
	return sumOf(p) == h.sum, nil
}

// growStep is how much memory a length in a header is believed before its bytes are there.
const growStep = 1 << 20

// bodyOf reads a body that may be large.
func (l *link) bodyOf(h header) ([]byte, error) {
	var p []byte
	for len(p) < h.length {
		n := min(growStep, h.length-len(p))
		p = append(p, make([]byte, n)...)
		if err := l.conn.SetReadDeadline(time.Now().Add(l.timeout)); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(l.in, p[len(p)-n:]); err != nil {
			return nil, err
		}
	}
	if sumOf(p) != h.sum {
		return nil, fmt.Errorf("%w: body checksum", errDamaged)
	}
	return p, nil
}
