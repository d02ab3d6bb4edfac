package mutlog

import (
	"fmt"
	"strconv"
	"strings"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// segment is one file of the log.
type segment struct {
	seq    uint64
	end    int64 // where the next record goes
	synced int64 // durable up to here
	// file is open while the segment is spare or active.
	file disk.File
	// members are the partitions with records here, in order of their first.
	members []*member
	holder  int  // member that last kept the segment from being freed: looked at first
	readers int  // Readers that need the file
	bad     bool // a write to it failed: the file is removed and not used again

	// The record before end, for the next record to name; prevOffset 0 when there is none.
	prevOffset uint32
	prevGPID   proto.GPID
	prevDecree proto.Decree
}

// member is a partition in a segment, with its highest decree there.
type member struct {
	part    *part
	segment *segment
	last    proto.Decree
}

// needed tells whether the partition still needs the segment: its store could lose something of it.
func (m *member) needed() bool { return !m.part.forgotten && m.upTo() > m.part.flushed }

// upTo is the highest decree here that counts. Decrees above the last written do not, they were replaced; but what was given up
// counts until the log says so durably, because a recovery before that would miss it.
func (m *member) upTo() proto.Decree {
	if p := m.part; !p.gone && !p.quarantined {
		return min(m.last, p.written)
	}
	return m.last
}

func (s *segment) join(p *part) *member {
	m := &member{part: p, segment: s}
	s.members = append(s.members, m)
	return m
}

// room is the free space when the segment has the given size.
func (s *segment) room(size int64) int { return int(size - s.end) }

// heldBy returns a member that needs s, or nil.
func (s *segment) heldBy() *member {
	if s.holder < len(s.members) && s.members[s.holder].needed() {
		return s.members[s.holder]
	}
	for i, m := range s.members {
		if m.needed() {
			s.holder = i
			return m
		}
	}
	return nil
}

const segmentSuffix = ".log"

func segmentName(seq uint64) string { return fmt.Sprintf("%016x%s", seq, segmentSuffix) }

// parseSegmentName is the inverse of segmentName; other files in the directory are left alone.
func parseSegmentName(name string) (seq uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	seq, err := strconv.ParseUint(digits, 16, 64)
	return seq, err == nil && segmentName(seq) == name
}

// position is a place in the log.
type position struct {
	seq uint64
	off int64
}

func (p position) less(o position) bool { return p.seq < o.seq || p.seq == o.seq && p.off < o.off }
