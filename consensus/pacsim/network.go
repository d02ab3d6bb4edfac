package pacsim

// link is one direction between two endpoints. Messages of one connection arrive in order unless Reorder is drawn for one; a
// broken connection's messages may still arrive while the next connection already carries others.
type link struct {
	blocked  bool
	flapping bool
	slow     int64 // extra delay
	conn     int   // number of the current connection
	last     int64 // arrival of the newest message of this connection
	ordered  int64 // the same for connections to metas and clients
}

// network joins endpoints: the nodes, then the metas.
type network struct {
	s     *Sim
	n     int
	links []link // from*n + to
	sent  uint64
	lost  uint64
}

func newNetwork(s *Sim, endpoints int) *network {
	return &network{s: s, n: endpoints, links: make([]link, endpoints*endpoints)}
}

func (w *network) link(from, to int) *link { return &w.links[from*w.n+to] }

// send carries one message: arrive runs once, twice or never. Delays are those of a data centre with rare outliers.
func (w *network) send(from, to int, arrive func()) {
	s := w.s
	w.sent++
	l := w.link(from, to)
	if l.blocked || s.storming && s.o.On[FaultLoss] && s.rng.IntN(1000) < s.o.Loss {
		w.lost++
		return
	}
	w.carry(l, arrive)
	if s.storming && s.o.On[FaultDuplicate] && s.rng.IntN(1000) < s.o.Duplicate {
		w.carry(l, arrive)
	}
}

func (w *network) delay(l *link) int64 {
	rng := w.s.rng
	d := 30*microsecond + rng.Int64N(100*microsecond)
	if rng.IntN(200) == 0 {
		d += rng.Int64N(3 * millisecond)
	}
	if l.slow > 0 {
		d += l.slow/2 + rng.Int64N(l.slow)
	}
	return d
}

func (w *network) carry(l *link, arrive func()) {
	s := w.s
	at := s.q.now + w.delay(l)
	if s.storming && s.o.On[FaultReorder] && s.rng.IntN(1000) < s.o.Reorder {
		at += s.rng.Int64N(20 * millisecond)
	} else {
		at = max(at, l.last+1)
		l.last = at
	}
	s.q.after(at-s.q.now, arrive)
}

// reliable carries one message of a connection that keeps order, once; false when the network would lose it.
func (w *network) reliable(from, to int, arrive func()) bool {
	s := w.s
	l := w.link(from, to)
	if l.blocked || s.storming && s.o.On[FaultLoss] && s.rng.IntN(4000) < s.o.Loss {
		return false
	}
	at := max(s.q.now+w.delay(l), l.ordered+1)
	l.ordered = at
	s.q.after(at-s.q.now, arrive)
	return true
}

// reconnect starts a new connection: what comes next may overtake what is on its way.
func (w *network) reconnect(from, to int) {
	l := w.link(from, to)
	l.conn++
	l.last = 0
}

// heal ends everything that troubles the links.
func (w *network) heal() {
	for i := range w.links {
		l := &w.links[i]
		l.blocked, l.flapping, l.slow = false, false, 0
	}
}
