package route

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pegasus/netcore/proto"
)

// Entry is where one partition is served.
type Entry struct {
	Primary     string   // "host:port", "" when there is none
	Secondaries []string // may answer requests that are marked as backup requests
	Ballot      proto.Ballot
	At          uint64 // Version of the map in which meta last said so
}

// Map is the configuration of a table as meta told it. It is immutable: its slices must not be changed.
type Map struct {
	App     int32
	Version uint64 // grows with every answer of meta
	Entries []Entry
	serving []int32 // by partition of a hash: the one that serves it
	shards  map[string]shards
}

// shards are the ports of a server's shards: shard i listens on first+i.
type shards struct{ count, first int32 }

// Partition returns the partition that serves a partition hash. An unfinished child of a split is served by its parent.
func (m *Map) Partition(hash uint64) int32 { return m.serving[hash%uint64(len(m.serving))] }

// Shard returns where the server at an address, as in an Entry, wants requests for a partition: on the port of the shard that
// owns it. It is address itself when the server announces no such ports.
func (m *Map) Shard(address string, part int32) string {
	s, ok := m.shards[address]
	if !ok {
		return address
	}
	port := s.first + int32(proto.Placement(proto.GPID{App: m.App, Part: part}, int(s.count)))
	return address[:strings.LastIndexByte(address, ':')+1] + strconv.Itoa(int(port))
}

// hostPort formats an address for dialling: a host that holds colons, an IPv6 address, stands in brackets.
func hostPort(h proto.HostPort) string {
	if strings.Contains(h.Host, ":") && !strings.HasPrefix(h.Host, "[") {
		return "[" + h.Host + "]:" + strconv.Itoa(int(h.Port))
	}
	return h.String()
}

// address prefers the packed form, which needs no look-up of a name.
func address(a proto.RPCAddress, h proto.HostPort) string {
	switch {
	case a.IsValid():
		return a.String()
	case h.IsValid():
		return hostPort(h)
	}
	return ""
}

func newEntry(p *proto.PartitionConfiguration, version uint64) Entry {
	e := Entry{Primary: address(p.Primary, p.HPPrimary), Ballot: p.Ballot, At: version}
	for i := range max(len(p.Secondaries), len(p.HPSecondaries)) {
		var a proto.RPCAddress
		var h proto.HostPort
		if i < len(p.Secondaries) {
			a = p.Secondaries[i]
		}
		if i < len(p.HPSecondaries) {
			h = p.HPSecondaries[i]
		}
		if s := address(a, h); s != "" {
			e.Secondaries = append(e.Secondaries, s)
		}
	}
	return e
}

// differs tells whether requests for the partition go elsewhere.
func (e *Entry) differs(o *Entry) bool { return e.Primary != o.Primary || e.Ballot != o.Ballot }

// newMap makes a map of an answer about all partitions.
func newMap(resp *proto.QueryCfgResponse, version uint64) (*Map, error) {
	if n := len(resp.Partitions); n == 0 || n != int(resp.PartitionCount) {
		return nil, fmt.Errorf("route: %d of %d partitions in the answer of meta", n, resp.PartitionCount)
	}
	m := &Map{App: resp.AppID, Version: version, Entries: make([]Entry, len(resp.Partitions))}
	for i := range resp.Partitions {
		if err := m.set(&resp.Partitions[i], int32(i)); err != nil {
			return nil, err
		}
	}
	m.finish(nil, resp)
	return m, nil
}

// merged is m with what an answer about some of the partitions of the same table says.
func (m *Map) merged(resp *proto.QueryCfgResponse) (*Map, error) {
	next := &Map{App: m.App, Version: m.Version + 1, Entries: slices.Clone(m.Entries)}
	for i := range resp.Partitions {
		if err := next.set(&resp.Partitions[i], resp.Partitions[i].PID.Part); err != nil {
			return nil, err
		}
	}
	next.finish(m.shards, resp)
	return next, nil
}

func (m *Map) set(p *proto.PartitionConfiguration, part int32) error {
	n := int32(len(m.Entries))
	bad := p.PID.App != m.App || p.PID.Part != part || part < 0 || part >= n
	if bad || p.Ballot < 0 && (n%2 != 0 || part < n/2) {
		return fmt.Errorf("route: meta answers partition %v with ballot %d where %d of %d is wanted", p.PID, p.Ballot, part, n)
	}
	m.Entries[part] = newEntry(p, m.Version)
	return nil
}

func (m *Map) finish(known map[string]shards, resp *proto.QueryCfgResponse) {
	if m.shards = known; len(resp.Shards) > 0 {
		m.shards = maps.Clone(known)
		if m.shards == nil {
			m.shards = map[string]shards{}
		}
		for _, s := range resp.Shards {
			if at := address(s.Server, s.HPServer); at != "" && s.Count > 0 && s.First > 0 && s.First+s.Count <= 1<<16 {
				m.shards[at] = shards{s.Count, s.First}
			}
		}
	}
	n := int32(len(m.Entries))
	m.serving = make([]int32, n)
	for i := range n {
		m.serving[i] = i
		if m.Entries[i].Ballot < 0 {
			m.serving[i] = i - n/2
		}
	}
}
