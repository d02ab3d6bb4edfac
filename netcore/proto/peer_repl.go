package proto

import (
	"encoding/binary"
	"errors"
)

// The messages between the replicas of one partition, and those by which nodes lease to each other. They are on the path
// of every write, so they are not schema coded: a fixed header of ReplHeaderLen bytes, little endian, and what follows it.
// A peer frame carries many: its body is one version byte and then messages until the end.
//
//	 0  1  type
//	 1  1  flags: 1 the receiver learns, 2 a configuration follows
//	 2  2  number of secondaries in the configuration
//	 4  4  length of the batch
//	 8  8  app id, partition index
//	16  8  ballot
//	24  8  decree
//	32  8  committed
//	40  8  timestamp
//	48  8  term
//	56  -  with flag 2: primary, secondaries, 16 bytes each; then the batch

// The kinds of peer frames between replica servers; see PeerKind.
const (
	PeerRepl  PeerKind = 10 // member to member: ReplVersion, then ReplMessages
	PeerLease PeerKind = 11 // node to node: one LeaseMessage
)

const (
	// ReplVersion is the first byte of the body of a PeerRepl frame.
	ReplVersion = 1
	// ReplHeaderLen is the size of a message without configuration and batch, in bytes.
	ReplHeaderLen = 56
	// MaxSecondaries is the highest number of secondaries in a configuration.
	MaxSecondaries = 31
	// LeaseMessageLen is the size of an encoded LeaseMessage, in bytes.
	LeaseMessageLen = 32
)

const (
	replLearner   = 1
	replHasConfig = 2
	nodeIDLen     = len(NodeID{})
)

// ErrBadReplMessage is the error of decoders for bytes that are no replication message.
var ErrBadReplMessage = errors.New("malformed replication message")

// ReplType says what a ReplMessage means and which of its fields count. GPID and Ballot, the sender's, always do. Numbers are
// fixed for ever.
type ReplType uint8

const (
	// ReplPrepare, primary to member or joined learner: log the mutation Decree, Timestamp, Batch. Committed is the commit
	// point, Term the primary's lease term with the receiver's node.
	ReplPrepare ReplType = 1
	// ReplPrepareAck, secondary to primary: everything up to Decree is durable here under Ballot's history. Committed is
	// what the sender has applied. A Term other than 0 confirms the primary for that term.
	ReplPrepareAck ReplType = 2
	// ReplNack, member or learner to primary: mutations are missing behind Decree.
	ReplNack ReplType = 3
	// ReplCommitPoint, primary to member or joined learner: everything up to Committed is decided.
	ReplCommitPoint ReplType = 4
	// ReplPing, primary to member or joined learner: confirm me for Term. Carries the configuration of Ballot.
	ReplPing ReplType = 5
	// ReplPong answers ReplPing: Term is the confirmed one, or 0 for a refusal.
	ReplPong ReplType = 6
	// ReplRefuse answers a message of a lower ballot: Ballot is the higher one.
	ReplRefuse ReplType = 7
	// ReplLearnInvite, primary to a node that is to learn.
	ReplLearnInvite ReplType = 8
	// ReplLearnRequest, learner to primary: send me what follows Decree.
	ReplLearnRequest ReplType = 9
	// ReplLearnData, primary to learner: a decided mutation, as in ReplPrepare.
	ReplLearnData ReplType = 10
	// ReplLearnAck, learner to primary: ReplPrepareAck of one that does not count yet.
	ReplLearnAck ReplType = 11
	// ReplLearnCheckpoint, primary to learner: install the checkpoint of Decree, then ask for what follows.
	ReplLearnCheckpoint ReplType = 12
	// ReplAbsent, to a primary: the sender holds nothing usable of the partition and cannot be a secondary.
	ReplAbsent ReplType = 13
)

var replTypeNames = [...]string{
	ReplPrepare: "Prepare", ReplPrepareAck: "PrepareAck", ReplNack: "Nack", ReplCommitPoint: "CommitPoint", ReplPing: "Ping",
	ReplPong: "Pong", ReplRefuse: "Refuse", ReplLearnInvite: "LearnInvite", ReplLearnRequest: "LearnRequest",
	ReplLearnData: "LearnData", ReplLearnAck: "LearnAck", ReplLearnCheckpoint: "LearnCheckpoint", ReplAbsent: "Absent",
}

// String names the type.
func (t ReplType) String() string {
	if int(t) < len(replTypeNames) && replTypeNames[t] != "" {
		return replTypeNames[t]
	}
	return "Invalid"
}

// ReplMessage is a message between replicas of a partition.
type ReplMessage struct {
	Type      ReplType
	Learner   bool // the receiver is meant as a learner
	GPID      GPID
	Ballot    Ballot
	Decree    Decree
	Committed Decree
	Timestamp int64
	Term      uint64
	// Primary and Secondaries are the configuration of Ballot; a zero Primary means that the message has none.
	Primary     NodeID
	Secondaries []NodeID
	Batch       []byte
}

// ReplMessageLen is the encoded size of m in bytes.
func ReplMessageLen(m *ReplMessage) int {
	n := ReplHeaderLen + len(m.Batch)
	if !m.Primary.IsZero() {
		n += nodeIDLen * (1 + len(m.Secondaries))
	}
	return n
}

// AppendReplMessage appends m. Secondaries above MaxSecondaries are a bug of the caller and make the message unreadable.
func AppendReplMessage(dst []byte, m *ReplMessage) []byte {
	flags, secondaries := byte(0), m.Secondaries
	if m.Learner {
		flags |= replLearner
	}
	if m.Primary.IsZero() {
		secondaries = nil
	} else {
		flags |= replHasConfig
	}
	dst = append(dst, byte(m.Type), flags)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(secondaries)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(m.Batch)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(m.GPID.App))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(m.GPID.Part))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Ballot))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Decree))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Committed))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Timestamp))
	dst = binary.LittleEndian.AppendUint64(dst, m.Term)
	if flags&replHasConfig != 0 {
		dst = append(dst, m.Primary[:]...)
		for i := range secondaries {
			dst = append(dst, secondaries[i][:]...)
		}
	}
	return append(dst, m.Batch...)
}

// ParseReplMessage reads the first message of in, which is the body of a PeerRepl frame behind its version byte, or the
// rest of one, and returns how many bytes it took. Batch is a view into in; Secondaries reuses the memory m had.
func ParseReplMessage(in []byte, m *ReplMessage) (n int, err error) {
	if len(in) < ReplHeaderLen {
		return 0, ErrBadReplMessage
	}
	typ, flags, secondaries := ReplType(in[0]), in[1], int(binary.LittleEndian.Uint16(in[2:]))
	batch := int64(binary.LittleEndian.Uint32(in[4:]))
	if typ < ReplPrepare || typ > ReplAbsent || flags&^(replLearner|replHasConfig) != 0 || secondaries > MaxSecondaries ||
		flags&replHasConfig == 0 && secondaries > 0 {
		return 0, ErrBadReplMessage
	}
	nodes := 0
	if flags&replHasConfig != 0 {
		nodes = nodeIDLen * (1 + secondaries)
	}
	if int64(len(in)) < int64(ReplHeaderLen+nodes)+batch {
		return 0, ErrBadReplMessage
	}
	*m = ReplMessage{
		Type: typ, Learner: flags&replLearner != 0,
		GPID:        GPID{App: int32(binary.LittleEndian.Uint32(in[8:])), Part: int32(binary.LittleEndian.Uint32(in[12:]))},
		Ballot:      Ballot(binary.LittleEndian.Uint64(in[16:])),
		Decree:      Decree(binary.LittleEndian.Uint64(in[24:])),
		Committed:   Decree(binary.LittleEndian.Uint64(in[32:])),
		Timestamp:   int64(binary.LittleEndian.Uint64(in[40:])),
		Term:        binary.LittleEndian.Uint64(in[48:]),
		Secondaries: m.Secondaries[:0],
	}
	at := ReplHeaderLen
	if nodes > 0 {
		at += copy(m.Primary[:], in[at:])
		if m.Primary.IsZero() {
			return 0, ErrBadReplMessage
		}
		for range secondaries {
			m.Secondaries = append(m.Secondaries, NodeID(in[at:]))
			at += nodeIDLen
		}
	}
	n = at + int(batch)
	m.Batch = in[at:n:n]
	return n, nil
}

// LeaseMessage is a beacon between two nodes, or its acknowledgement. A beacon asks for a lease; the acknowledgement grants
// it, counted from SentAt on the clock of the asker.
type LeaseMessage struct {
	Ack bool
	// Incarnation of the sender; it differs at every start of a process.
	Incarnation uint64
	// For is the incarnation that an acknowledgement answers, 0 in a beacon.
	For uint64
	// DiskFull: the sender has a full disk, so primaries should refuse writes of which it is a member.
	DiskFull bool
	// SentAt is when the beacon was sent, monotonic nanoseconds of its sender.
	SentAt int64
}

// AppendLeaseMessage appends m, LeaseMessageLen bytes: version 1, whether it is an acknowledgement, whether a disk is full, 5 bytes of 0, then
// Incarnation, For, SentAt, little endian.
func AppendLeaseMessage(dst []byte, m *LeaseMessage) []byte {
	ack := byte(0)
	if m.Ack {
		ack = 1
	}
	full := byte(0)
	if m.DiskFull {
		full = 1
	}
	dst = append(dst, ReplVersion, ack, full, 0, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, m.Incarnation)
	dst = binary.LittleEndian.AppendUint64(dst, m.For)
	return binary.LittleEndian.AppendUint64(dst, uint64(m.SentAt))
}

// ParseLeaseMessage reads a message that fills in.
func ParseLeaseMessage(in []byte, m *LeaseMessage) error {
	if len(in) != LeaseMessageLen || in[0] != ReplVersion || in[1] > 1 {
		return ErrBadReplMessage
	}
	*m = LeaseMessage{
		Ack:         in[1] == 1,
		DiskFull:    in[2]&1 == 1,
		Incarnation: binary.LittleEndian.Uint64(in[8:]),
		For:         binary.LittleEndian.Uint64(in[16:]),
		SentAt:      int64(binary.LittleEndian.Uint64(in[24:])),
	}
	return nil
}
