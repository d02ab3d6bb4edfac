package clienttest

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"pegasus/netcore/proto"
)

// server is one listener with its connections.
type server struct {
	cluster *Cluster
	index   int
	wg      sync.WaitGroup
	stalled atomic.Bool
	at      atomic.Uint64 // proto.RPCAddress, also when it has stopped

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]struct{}
	ended    bool
}

func (s *server) address() proto.RPCAddress { return proto.RPCAddress(s.at.Load()) }

func (s *server) start(l net.Listener) {
	s.at.Store(uint64(proto.NewRPCAddress(netip.MustParseAddrPort(l.Addr().String()))))
	s.mu.Lock()
	s.listener, s.ended = l, false
	s.mu.Unlock()
	s.wg.Add(1)
	go s.accept(l)
}

func (s *server) accept(l net.Listener) {
	defer s.wg.Done()
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.ended {
			_ = nc.Close()
		} else {
			s.conns[nc] = struct{}{}
			s.wg.Add(1)
			go s.talk(nc)
		}
		s.mu.Unlock()
	}
}

func (s *server) talk(nc net.Conn) {
	defer s.wg.Done()
	defer func() {
		s.mu.Lock()
		delete(s.conns, nc)
		s.mu.Unlock()
		_ = nc.Close()
	}()
	var in, out, held []byte
	chunk := make([]byte, 64<<10)
	for {
		n, err := nc.Read(chunk)
		in = append(in, chunk[:n]...)
		for {
			var req proto.Request
			used, _, perr := proto.ParseTHFT(in, maxFrame, &req)
			if perr != nil {
				return
			}
			if used == 0 {
				break
			}
			if s.stalled.Load() {
				in = in[used:]
				continue
			}
			reply, action := s.cluster.handle(s.index, &req, in[:used])
			in = in[used:]
			switch action {
			case Close:
				return
			case Hold:
				held = append(held, reply...)
			default:
				out = append(out, reply...)
				if reply != nil {
					out, held = append(out, held...), held[:0]
				}
			}
		}
		if _, werr := nc.Write(out); werr != nil || err != nil {
			return
		}
		out = out[:0]
		in = slices.Clone(in)
	}
}

func (s *server) closeConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for nc := range s.conns {
		_ = nc.Close()
	}
}

func (s *server) stop() {
	s.mu.Lock()
	_ = s.listener.Close()
	s.ended = true
	s.mu.Unlock()
	s.closeConns()
	s.wg.Wait()
}
