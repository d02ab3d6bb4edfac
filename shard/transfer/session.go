package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"sync"
	"time"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// request is what a learner asked: a block, or err (nil: it has everything) as the last one.
type request struct {
	file   int
	block  int
	last   bool
	err    error
	offset int64
}

// serve runs one connection from its first byte to its end.
func (s *Server) serve(conn net.Conn) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	l := newLink(conn, 0, s.o.Timeout)
	ses := &session{cancel: cancel, done: make(chan struct{})}
	switch err := l.hello(ses); {
	case errors.Is(err, ErrVersion):
		l.fail(codeVersion, fmt.Sprintf("version %d is spoken here", frameVersion))
		l.linger()
		return
	case err != nil:
		s.count(err)
		return
	}
	of, refusal := s.join(l.id, ses)
	if of == nil {
		l.fail(refusal, "")
		l.linger()
		return
	}
	defer s.leave(of, ses)
	stopOffer := context.AfterFunc(of.ctx, cancel)
	defer stopOffer()
	s.converse(ctx, cancel, l, of)
}

// hello reads the first frame: who asks, and for what.
func (l *link) hello(ses *session) error {
	h, err := l.next(len(ses.node))
	if err != nil {
		return err
	}
	if h.kind != kindOpen || h.length != len(ses.node) {
		return fmt.Errorf("%w: first frame has kind %d", errProtocol, h.kind)
	}
	l.id = h.id
	var node proto.NodeID
	if ok, err := l.body(h, node[:]); err != nil || !ok {
		return errors.Join(errDamaged, err)
	}
	ses.node = node
	return nil
}

func (s *Server) count(err error) {
	if errors.Is(err, errDamaged) || errors.Is(err, errProtocol) {
		s.damaged.Add(1)
	}
}

// converse answers requests until the learner is done or the connection is.
func (s *Server) converse(ctx context.Context, cancel context.CancelFunc, l *link, of *offer) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	requests := make(chan request, MaxWindow)
	wg.Go(func() { l.keepAlive(ctx) })
	wg.Go(func() {
		defer close(requests)
		l.requests(ctx, of.manifest, requests)
	})
	if l.send(header{kind: kindManifest}, of.encoded) != nil {
		return
	}
	r := blockReader{fs: s.o.FS, dir: of.dir, m: of.manifest, buf: make([]byte, headerLen+BlockSize)}
	defer r.close()
	for req := range requests {
		switch {
		case !req.last:
			if err := s.sendBlock(ctx, l, &r, req); err != nil {
				if errors.Is(err, ErrSource) {
					l.fail(codeSource, err.Error())
					s.end(of, err)
					drain(requests)
				}
				return
			}
		case req.err == nil:
			s.fetched.Add(1)
			s.end(of, nil)
			return
		default:
			s.count(req.err)
			if errors.Is(req.err, errProtocol) {
				l.fail(codeProtocol, req.err.Error())
			}
			return
		}
	}
}

func (s *Server) sendBlock(ctx context.Context, l *link, r *blockReader, req request) error {
	n := r.m.Files[req.file].blockLen(req.block)
	if err := s.o.Budget.moved.take(ctx, n); err != nil {
		return err
	}
	sum, err := r.read(req.file, req.block, n)
	if err != nil {
		return err
	}
	h := header{kind: kindBlock, file: uint32(req.file), offset: req.offset, sum: sum}
	if err := l.sendBlock(h, r.buf[:headerLen+n]); err != nil {
		return err
	}
	s.blocks.Add(1)
	s.bytes.Add(uint64(n))
	return nil
}

// requests reads what the learner asks. The channel has room for all that a learner may ask ahead, so this never stops
// reading and both ends may write at the same time.
func (l *link) requests(ctx context.Context, m *Manifest, to chan<- request) {
	for {
		h, err := l.next(0)
		req := request{last: true, err: err}
		if err == nil {
			switch h.kind {
			case kindAlive:
				continue
			case kindDone:
			case kindGet:
				req = requested(h, m)
			default:
				req.err = fmt.Errorf("%w: frame of kind %d", errProtocol, h.kind)
			}
		}
		if len(to) == cap(to) {
			req = request{last: true, err: fmt.Errorf("%w: more than %d requests", errProtocol, cap(to))}
		}
		select {
		case to <- req:
		case <-ctx.Done():
			return
		}
		if req.last {
			return
		}
	}
}

func requested(h header, m *Manifest) request {
	if int64(h.file) >= int64(len(m.Files)) || h.offset < 0 || h.offset%BlockSize != 0 || h.offset >= m.Files[h.file].Size {
		return request{last: true, err: fmt.Errorf("%w: no block at %d of file %d", errProtocol, h.offset, h.file)}
	}
	return request{file: int(h.file), block: int(h.offset / BlockSize), offset: h.offset}
}

// fail is the last frame of this end. It goes out even when nobody reads it any more.
func (l *link) fail(c code, text string) {
	_ = l.send(header{kind: kindError, code: c}, []byte(text[:min(len(text), maxErrorText)]))
	if c, ok := l.conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}

// maxErrorText bounds the text of kindError in bytes.
const maxErrorText = 256

// lingerTime is how long a failed connection waits until the learner has hung up. Closing with unread requests would reset
// the connection, and the learner might never see why.
const lingerTime = aliveEvery

func (l *link) linger() {
	if l.conn.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, l.in, 64<<10)
	}
}

// drain is linger where another goroutine reads.
func drain(requests <-chan request) {
	t := time.NewTimer(lingerTime)
	defer t.Stop()
	for {
		select {
		case _, ok := <-requests:
			if !ok {
				return
			}
		case <-t.C:
			return
		}
	}
}

// blockReader reads the offered files, which learners ask for one after the other.
type blockReader struct {
	fs   disk.FS
	dir  string
	m    *Manifest
	open disk.File // of file, or nil
	file int
	buf  []byte // headerLen free bytes, then the block
}

// read brings n bytes, a block, into buf and holds them against the manifest.
func (r *blockReader) read(file, block, n int) (sum uint32, err error) {
	f := &r.m.Files[file]
	if r.open == nil || r.file != file {
		r.close()
		if r.open, err = r.fs.Open(path.Join(r.dir, f.Name)); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrSource, err)
		}
		r.file = file
	}
	p := r.buf[headerLen:][:n]
	if err := disk.Fill(r.open, p, int64(block)*BlockSize); err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrSource, f.Name, err)
	}
	if sum = sumOf(p); sum != f.Blocks[block] {
		return 0, fmt.Errorf("%w: %s changed in block %d", ErrSource, f.Name, block)
	}
	return sum, nil
}

func (r *blockReader) close() {
	if r.open != nil {
		// Opened for reading only: there is nothing that closing could lose.
		_ = r.open.Close()
		r.open = nil
	}
}
