package transfer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/netcore/proto"
)

// maxConns bounds the connections of a Server, those included that have not said yet what they want.
const maxConns = 64

// Server offers directories to learners. Create it with NewServer, end it with Close. All methods may be called from any
// goroutine; of them Offer and Close block.
type Server struct {
	ln     net.Listener
	o      Options
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // everything that runs; added to under mu, and not once closed is set

	mu     sync.Mutex
	closed bool
	offers map[uint64]*offer

	conns                                                           atomic.Int64
	blocks, bytes, busy, unknown, damaged, fetched, expired, remain atomic.Uint64
}

// offer is a directory that may be fetched. What is below the blank line is guarded by Server.mu.
type offer struct {
	id       uint64
	dir      string
	manifest *Manifest
	encoded  []byte
	ctx      context.Context // ends when the offer is dropped
	cancel   context.CancelFunc

	ready   bool // manifest, encoded are there
	session *session
	expire  *time.Timer // runs while session is nil
	ended   bool        // Options.Ended was told
}

// session is a connection that fetches an offer.
type session struct {
	node   proto.NodeID
	cancel context.CancelFunc
	done   chan struct{} // closed when the connection reads no file any more
}

// NewServer serves on ln, which it closes in Close.
func NewServer(ln net.Listener, o Options) *Server {
	s := &Server{ln: ln, o: o.withDefaults(), offers: map[uint64]*offer{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(s.accept)
	return s
}

// Offer makes the files of dir available under id, which must be new and hard to guess. It reads every byte of dir to
// checksum it, so it blocks for long; the budget permits each block. dir must be flat, and nobody may change it any more.
//
// When Offer returns nil the directory belongs to the Server, which removes it on Release, on expiry and on Close. After an
// error it is the caller's: ErrExists, ErrBusy (MaxOffers), ErrManifest (out of bounds), ErrSource (cannot be read),
// ErrClosed (Close, or Release of this id, came first).
func (s *Server) Offer(id uint64, gpid proto.GPID, decree proto.Decree, dir string) error {
	of, err := s.reserve(id, dir)
	if err != nil {
		return err
	}
	defer s.wg.Done()
	m := &Manifest{ID: id, GPID: gpid, Decree: decree}
	if m.Files, err = scan(of.ctx, &s.o, dir); err == nil {
		err = m.check()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.offers[id] != of:
		return ErrClosed
	case err != nil:
		delete(s.offers, id)
		of.cancel()
		return err
	}
	of.manifest, of.encoded, of.ready = m, m.encode(), true
	of.expire = time.AfterFunc(s.o.Expire, func() { s.expireOffer(of) })
	return nil
}

// reserve takes the id. Offer counts as running from here on.
func (s *Server) reserve(id uint64, dir string) (*offer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.offers[id] != nil:
		return nil, fmt.Errorf("%w: %016x", ErrExists, id)
	case len(s.offers) >= MaxOffers:
		return nil, fmt.Errorf("%w: %d offers", ErrBusy, len(s.offers))
	}
	of := &offer{id: id, dir: dir}
	of.ctx, of.cancel = context.WithCancel(s.ctx)
	s.offers[id] = of
	s.wg.Add(1)
	return of, nil
}

// Release ends an offer: whoever fetches it is cut off, its directory is removed in the background. An unknown id is ignored.
// It does not block.
func (s *Server) Release(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if of := s.offers[id]; of != nil {
		s.drop(of)
	}
}

// drop is called with the lock held.
func (s *Server) drop(of *offer) {
	delete(s.offers, of.id)
	of.cancel()
	if !of.ready {
		return // Offer sees it, and leaves the directory to its caller
	}
	of.expire.Stop()
	ses := of.session
	s.wg.Go(func() {
		if ses != nil {
			<-ses.done
		}
		if s.removeDir(of.dir) != nil {
			s.remain.Add(1)
		}
	})
}

func (s *Server) removeDir(dir string) error {
	names, err := s.o.FS.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		err = errors.Join(err, s.o.FS.Remove(path.Join(dir, name)))
	}
	return errors.Join(err, s.o.FS.Remove(dir))
}

// expireOffer is the end of the expiry timer. A learner may have come, or a Release, while the timer fired.
func (s *Server) expireOffer(of *offer) {
	s.mu.Lock()
	if s.offers[of.id] != of || of.session != nil {
		s.mu.Unlock()
		return
	}
	s.expired.Add(1)
	s.wg.Add(1)
	defer s.wg.Done()
	s.drop(of)
	s.mu.Unlock()
	s.end(of, ErrExpired)
}

// end tells the owner, once per offer.
func (s *Server) end(of *offer, err error) {
	s.mu.Lock()
	told := of.ended
	of.ended = true
	s.mu.Unlock()
	if !told && s.o.Ended != nil {
		s.o.Ended(of.id, err)
	}
}

// Close ends all connections and offers, and removes the offered directories. It returns when nothing of the Server runs.
func (s *Server) Close() {
	s.mu.Lock()
	if !s.closed {
		for _, of := range s.offers {
			s.drop(of)
		}
		s.closed = true
		s.cancel()
		// An error means that the listener is closed, which is what is wanted.
		_ = s.ln.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *Server) accept() {
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			if !s.acceptAgain(err) {
				return
			}
			continue
		}
		s.mu.Lock()
		if s.closed || s.conns.Load() >= maxConns {
			conn.Close()
		} else {
			s.conns.Add(1)
			s.wg.Go(func() {
				defer s.conns.Add(-1)
				s.serve(conn)
			})
		}
		s.mu.Unlock()
	}
}

// acceptAgain waits after a failure to accept, which is most often a lack of file descriptors, and tells whether to go on.
func (s *Server) acceptAgain(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	t := time.NewTimer(100 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// join makes ses the session of the offer id, in place of an older one of the same node: that one's connection is broken,
// only its end of it has not been heard here.
func (s *Server) join(id uint64, ses *session) (*offer, code) {
	for {
		s.mu.Lock()
		of := s.offers[id]
		var old *session
		switch {
		case of == nil || !of.ready:
			s.unknown.Add(1)
			s.mu.Unlock()
			return nil, codeUnknown
		case of.session != nil && of.session.node == ses.node:
			old = of.session
		case of.session != nil || !s.o.Budget.enter(&s.o.Budget.serving):
			s.busy.Add(1)
			s.mu.Unlock()
			return nil, codeBusy
		default:
			of.session = ses
			of.expire.Stop()
			s.mu.Unlock()
			return of, 0
		}
		s.mu.Unlock()
		old.cancel()
		<-old.done
	}
}

func (s *Server) leave(of *offer, ses *session) {
	s.o.Budget.leave(&s.o.Budget.serving)
	s.mu.Lock()
	of.session = nil
	if s.offers[of.id] == of {
		of.expire.Reset(s.o.Expire)
	}
	s.mu.Unlock()
	close(ses.done)
}

// Stats of a Server since its beginning, where not said otherwise.
type Stats struct {
	Offers  int    // now
	Conns   int    // now
	Blocks  uint64 // sent
	Bytes   uint64 // of blocks sent
	Busy    uint64 // learners refused with ErrBusy
	Unknown uint64 // learners refused with ErrUnknown
	Damaged uint64 // connections given up for damaged or malformed frames
	Fetched uint64 // times that a learner said it has everything
	Expired uint64 // offers
	Remain  uint64 // directories that could not be removed
}

// Stats returns the counters, which are not read at one instant.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	offers := len(s.offers)
	s.mu.Unlock()
	return Stats{
		Offers: offers, Conns: int(s.conns.Load()), Blocks: s.blocks.Load(), Bytes: s.bytes.Load(), Busy: s.busy.Load(),
		Unknown: s.unknown.Load(), Damaged: s.damaged.Load(), Fetched: s.fetched.Load(), Expired: s.expired.Load(),
		Remain: s.remain.Load(),
	}
}
