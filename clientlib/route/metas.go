package route

import (
	"time"

	"pegasus/netcore/proto"
)

// A meta that does not answer for MetaPatience is passed over. Rounds in which no meta answers as leader are followed by a
// pause that doubles from roundFirst to roundMost.
const (
	MetaPatience = time.Second

	roundFirst = 50 * time.Millisecond
	roundMost  = time.Second
)

// Metas tells which meta server to ask. It remembers which one answered as leader last.
type Metas struct {
	// Rand spreads pauses; it is set before the first use.
	Rand Rand

	list   []string
	leader string // "" when unknown
	next   int    // index in list of the one to ask when the leader is unknown
	misses int    // in a row, since one answered as leader
}

// Set gives the addresses of the meta servers, at least one. The slice is kept.
func (m *Metas) Set(list []string) { m.list, m.next = list, 0 }

// Lost tells whether the last round of all meta servers found no leader.
func (m *Metas) Lost() bool { return m.misses >= len(m.list) }

// Pick returns the address to ask.
func (m *Metas) Pick() string {
	if m.leader != "" {
		return m.leader
	}
	return m.list[m.next%len(m.list)]
}

// Answered takes the error in an answer of the meta at an address, and the leader that it names, "" for none. It returns
// whether the question is to be asked again, and after which pause. Otherwise the answer is final.
func (m *Metas) Answered(from string, code proto.ErrCode, leader string) (again bool, pause time.Duration) {
	switch code {
	case proto.ErrForwardToOthers:
		if leader != "" && leader != from && m.misses < 2*len(m.list) {
			// Two metas that name each other must not make a loop without a pause, so this counts as a miss too.
			m.misses++
			m.leader = leader
			return true, 0
		}
		return true, m.missed(from)
	case proto.ErrServiceNotActive, proto.ErrUnderRecovery:
		return true, m.missed(from)
	}
	m.leader, m.misses = from, 0
	return false, 0
}

// Failed reports that the meta at an address did not answer. It returns how long to wait before the next is asked.
func (m *Metas) Failed(from string) (pause time.Duration) { return m.missed(from) }

// missed goes on to the next of the list.
func (m *Metas) missed(from string) time.Duration {
	if m.list[m.next%len(m.list)] == from {
		m.next++
	}
	m.leader = ""
	m.misses++
	if rounds := m.misses / len(m.list); rounds > 0 && m.misses%len(m.list) == 0 {
		return m.Rand.Spread(doubled(roundFirst, roundMost, rounds-1))
	}
	return 0
}
