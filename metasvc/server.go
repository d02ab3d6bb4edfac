// Package metasvc is the meta server: the cluster state machine of package core behind a socket, with its commands kept
// by package journal. It knows the wire and the order in which things stop; what a table or a node is, it leaves to core.
//
// One loop owns everything: sessions, the core and its timers. The journal brings committed commands to that loop and
// waits for it; the loop never waits for the journal. So there is no lock here, and no way to wait in a circle.
package metasvc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"pegasus/metasvc/core"
	"pegasus/metasvc/journal"
	"pegasus/netcore/httpfront"
	"pegasus/netcore/invariant"
	"pegasus/netcore/lane"
	"pegasus/netcore/loop"
	"pegasus/netcore/metric/export"
	"pegasus/netcore/proto"
	"pegasus/netcore/timer"
)

// Peer is one meta of the group: where clients and nodes reach it, and where its journal listens.
type Peer struct {
	Address string
	Raft    string
}

// Options of a meta server.
type Options struct {
	ClusterName string
	Listen      string // host:port; port 0 picks a free one
	Advertise   string // how others reach Listen; one of Peers has this address
	Peers       []Peer
	Join        bool         // wait to be taken into a group that exists, instead of beginning one
	RaftListen  net.Listener // an open listener for the journal; Start takes it over
	DataDir     string

	Level          proto.MetaFunctionLevel
	MinLiveNodes   int
	LivePercentage int
	MinReplicas    int32
	MaxReplicas    int32
	HoldSeconds    int64
	Grace          time.Duration
	// MinWriteReplicas and AssignDelay are those of core.Options.
	MinWriteReplicas int32
	AssignDelay      time.Duration
	// AddsPerNode, StaleDelay, BalancePeriod and Recovering are those of core.Options.
	AddsPerNode   int
	StaleDelay    time.Duration
	BalancePeriod time.Duration
	Recovering    bool
	// Changes lets the console change something, see API.md there.
	Changes bool
	// Config is the text of the configuration in force, for people.
	Config string

	// Election is that of journal.Config.
	Election time.Duration
	// Version and Commit are what /version shows.
	Version string
	Commit  string
	Logger  *zap.Logger
	// OnFatal is called once when the server cannot go on: its loop ended or the journal cannot be read.
	OnFatal func(error)
}

const (
	tickPeriod   = 100 * time.Millisecond // of who leads; others have no deadlines
	restPeriod   = time.Second
	maxFrame     = 16 << 20 // bytes of one request or node message
	maxInbound   = maxFrame + 4096
	maxSessions  = 20_000
	stopDeadline = 5 * time.Second
)

// Server is a running meta server.
type Server struct {
	opt     Options
	log     *zap.Logger
	self    proto.RPCAddress
	started time.Time
	loop    *loop.Loop[func()]
	opened  chan struct{} // closed once loop is set

	// Owned by the loop.
	core    *core.Core
	effects core.Effects
	journal *journal.Journal // nil until it is open; never changes after Start
	calls   map[uint64]call
	token   uint64
	failed  error
	watch   *watcher
	leader  core.Leadership  // as last reported
	members []journal.Member // of the meta group, likewise
	ticking timer.ID         // the next tick; zero until the journal is open
	// changing: a change of the meta group is under way; one at a time.
	changing bool
	config   *httpfront.Config
	export   *export.Exporter
	pages    *lane.Lane // where pages are made that take long
}

// call is a client request that core has not answered yet.
type call struct {
	session loop.Ref
	to      proto.ReplyTo
	// redirect tells that the client wants ERR_FORWARD_TO_OTHERS at the RPC level.
	redirect bool
	old      bool // predatesHostPort
	// render, if set, takes the answer in place of the session: a remote command or a page is made of it.
	render func(*core.Reply)
}

// Start opens the port and the journal. When it returns, the server answers, though possibly that it does not know the
// leader yet.
func Start(opt Options) (_ *Server, err error) {
	if opt.Logger == nil {
		opt.Logger = zap.NewNop()
	}
	s := &Server{
		opt: opt, log: opt.Logger, opened: make(chan struct{}), calls: make(map[uint64]call), started: time.Now(),
	}
	defer func() {
		if err != nil {
			opt.RaftListen.Close()
		}
	}()
	co := core.Options{
		Origin: rand.Uint64(), ClusterName: opt.ClusterName,
		Level: opt.Level, MinLiveNodes: opt.MinLiveNodes, LivePercentage: opt.LivePercentage,
		MinReplicas: opt.MinReplicas, MaxReplicas: opt.MaxReplicas, HoldSeconds: opt.HoldSeconds, Grace: opt.Grace,
		MinWriteReplicas: opt.MinWriteReplicas, AssignDelay: opt.AssignDelay, AddsPerNode: opt.AddsPerNode,
		StaleDelay: opt.StaleDelay, BalancePeriod: opt.BalancePeriod, Recovering: opt.Recovering,
	}
	known := false
	members := make([]journal.Member, len(opt.Peers))
	for i, p := range opt.Peers {
		l, err := resolve(p.Address)
		if err != nil {
			return nil, err
		}
		if p.Address == opt.Advertise {
			known = true
			co.Self, co.SelfIP, s.self = l.Address, l.IP, l.IP
		}
		members[i] = journal.Member{ID: p.Address, Address: p.Raft}
		co.Metas = append(co.Metas, p.Address)
		co.Coordinators = append(co.Coordinators, p.Raft)
	}
	if !known {
		return nil, fmt.Errorf("metasvc: none of the peers has the advertised address %s", opt.Advertise)
	}
	s.core = core.New(co)
	s.watch = newWatcher(s)
	s.config = httpfront.NewConfig(opt.Config, nil)
	s.export = export.New()
	s.export.Gauge("pegasus_build_info", "Version of the server, always 1.", "version", opt.Version, "commit", opt.Commit).Set(1)
	s.pages = lane.New("pages", pageWorkers, pageQueue)

	s.loop, err = loop.Start(loop.Config{
		Name: "meta", Addrs: []string{opt.Listen}, MaxSessions: maxSessions, MaxInbound: maxInbound,
		Logger: opt.Logger, OnFatal: s.fatal,
	}, s)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("metasvc: %w", err), s.stopPages())
	}
	close(s.opened)
	j, err := journal.Open(journal.Config{
		Dir: opt.DataDir, Self: opt.Advertise, Members: members, Listener: opt.RaftListen, Election: opt.Election,
		Join: opt.Join, Logger: opt.Logger,
	}, s)
	if err != nil {
		return nil, errors.Join(err, s.stopLoop())
	}
	s.onLoop(func() {
		s.journal = j
		s.tick()
	})
	return s, nil
}

// resolve finds both forms of an address.
func resolve(address string) (core.Leadership, error) {
	host, ok := proto.ParseHostPort(address)
	if !ok {
		return core.Leadership{}, fmt.Errorf("metasvc: %q is not host:port", address)
	}
	tcp, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return core.Leadership{}, fmt.Errorf("metasvc: %w", err)
	}
	ip, _ := netip.AddrFromSlice(tcp.IP.To4())
	return core.Leadership{Address: host, IP: proto.NewRPCAddress(netip.AddrPortFrom(ip, uint16(tcp.Port)))}, nil
}

// Addr is the address listened on, with the real port.
func (s *Server) Addr() string { return s.loop.Addrs()[0] }

// Stop hands the leadership over if it can, then closes the journal and every session.
func (s *Server) Stop() error {
	return errors.Join(s.journal.Close(), s.stopLoop())
}

func (s *Server) stopLoop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopDeadline)
	defer cancel()
	return errors.Join(s.loop.Stop(ctx), s.stopPages())
}

func (s *Server) stopPages() error {
	s.pages.Close()
	return s.export.Close()
}

func (s *Server) fatal(err error) {
	s.log.Error("meta server cannot go on", zap.Error(err))
	if s.opt.OnFatal != nil {
		s.opt.OnFatal(err)
	}
}

// onLoop runs fn on the loop and waits for it; false when the loop has ended.
func (s *Server) onLoop(fn func()) bool {
	done := make(chan struct{})
	if err := s.loop.PostMust(func() { fn(); close(done) }); err != nil {
		return false
	}
	<-done
	return true
}

func (s *Server) tick() {
	s.step(core.Tick{})
	s.armTick()
}

func (s *Server) armTick() {
	period := restPeriod
	if s.leader.Role == core.Leading {
		period = tickPeriod
	}
	s.ticking = s.loop.AtMultiple(period, s.tick)
}

// step passes an event to the core and carries out what follows.
func (s *Server) step(ev core.Event) {
	if s.failed != nil {
		return
	}
	s.effects.Reset()
	now := core.Now{Mono: s.loop.Now(), Unix: s.loop.WallMicros() / 1e6}
	if err := s.core.Step(now, ev, &s.effects); err != nil {
		s.failed = err
		go s.fatal(err)
		return
	}
	s.watch.after(ev, &s.effects)
	var refused []uint64
	for _, p := range s.effects.Propose {
		if s.journal == nil || !s.journal.Propose(p.Data) {
			refused = append(refused, p.Seq)
		}
	}
	for i := range s.effects.Send {
		s.send(&s.effects.Send[i])
	}
	for i := range s.effects.Reply {
		s.reply(&s.effects.Reply[i])
	}
	for _, seq := range refused {
		s.step(core.Refused{Seq: seq})
	}
	if notes := s.watch.take(); len(notes) > 0 {
		s.step(core.Observed{Notes: notes})
	}
}

// The methods of journal.Machine, called from the journal's goroutines.

// Apply implements journal.Machine.
func (s *Server) Apply(entries []journal.Entry) error {
	var err error
	if !s.onLoop(func() {
		for _, e := range entries {
			s.step(core.Committed{Data: e.Data, At: e.At})
		}
		err = s.failed
	}) {
		return loop.ErrStopped
	}
	return err
}

// Snapshot implements journal.Machine.
func (s *Server) Snapshot() ([]byte, error) {
	var b []byte
	err := loop.ErrStopped
	s.onLoop(func() {
		b, err = s.core.State().AppendSnapshot(nil), s.failed
	})
	return b, err
}

// Restore implements journal.Machine. Only a member that does not lead is sent a snapshot, but the news that it lost the
// leadership may be still on the way.
func (s *Server) Restore(snapshot []byte) error {
	st, err := core.ReadSnapshot(snapshot)
	if err != nil {
		return err
	}
	if !s.onLoop(func() {
		s.step(core.Leadership{Role: core.Following})
		s.step(core.Restored{State: st})
	}) {
		return loop.ErrStopped
	}
	return nil
}

// Lead implements journal.Machine.
func (s *Server) Lead(st journal.Status) {
	var l core.Leadership
	if st.LeaderID != "" {
		var err error
		if l, err = resolve(st.LeaderID); err != nil {
			s.log.Warn("the leader's address", zap.Error(err))
		}
	}
	switch {
	case st.Ready:
		l.Role = core.Leading
	case st.Leading:
		l.Role = core.Electing
	}
	s.onLoop(func() {
		s.leader = l
		s.step(l)
		if s.loop.Cancel(s.ticking) {
			s.armTick()
		}
	})
}

// Group implements journal.Machine.
func (s *Server) Group(members []journal.Member) {
	if len(members) == 0 {
		return // not taken in yet
	}
	var g core.Group
	for _, m := range members {
		g.Metas = append(g.Metas, m.ID)
		g.Coordinators = append(g.Coordinators, m.Address)
	}
	s.onLoop(func() {
		s.members = members
		s.step(g)
	})
}

// link is the name of a session in core: never 0, as generations start at 1.
func link(r loop.Ref) uint64 {
	invariant.Assertf(r.Gen != 0, "session without generation")
	return uint64(r.Slot)<<32 | uint64(r.Gen)
}

func refOf(link uint64) loop.Ref { return loop.Ref{Slot: uint32(link >> 32), Gen: uint32(link)} }
