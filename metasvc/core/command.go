package core

import (
	"encoding/binary"
	"errors"
	"fmt"

	"pegasus/netcore/proto"
)

// CommandKind says which command a journal entry holds. Numbers are fixed for ever; new kinds are appended.
type CommandKind uint8

// The commands of the journal.
const (
	CommandCreateApp     CommandKind = 1
	CommandDropApp       CommandKind = 2
	CommandUpdateConfig  CommandKind = 3
	CommandUpdateAppEnv  CommandKind = 4
	CommandRegisterNode  CommandKind = 5
	CommandExpireApps    CommandKind = 6
	CommandReconfigure   CommandKind = 7
	CommandSetReplicas   CommandKind = 8
	CommandRecallApp     CommandKind = 9
	CommandRenameApp     CommandKind = 10
	CommandSetIdempotent CommandKind = 11
	CommandSetOption     CommandKind = 12
	CommandStartJob      CommandKind = 13
	CommandMoveJob       CommandKind = 14
	CommandReturnNode    CommandKind = 15
	CommandAppoint       CommandKind = 16
	CommandRecover       CommandKind = 17
)

// CreateApp makes a table with all its partitions, unassigned. Now is unix seconds at the leader that proposed it.
type CreateApp struct {
	Request proto.CreateAppRequest `thrift:"1"`
	Now     int64                  `thrift:"2"`
}

// DropApp drops a table; it is remembered until ExpireAt (unix seconds).
type DropApp struct {
	Request  proto.DropAppRequest `thrift:"1"`
	Now      int64                `thrift:"2"`
	ExpireAt int64                `thrift:"3"`
}

// UpdateConfig is Reconfigure as it was written when groups had one member. It is only read.
type UpdateConfig struct {
	Update proto.UpdateConfig `thrift:"1"`
}

// UpdateAppEnv changes environments of a table. Keys and values were validated before it was proposed.
type UpdateAppEnv struct {
	Request proto.UpdateAppEnvRequest `thrift:"1"`
}

// RegisterNode adds a node or renews what is known of it.
type RegisterNode struct {
	Node Node `thrift:"1"`
}

// Reconfigure changes the configuration of a partition if the ballot fits. It has a kind of its own because a program
// that only knows groups of one would carry it out differently: it must stop instead.
type Reconfigure struct {
	Update proto.UpdateConfig `thrift:"1"`
}

// SetReplicas sets max_replica_count of a table and all its partitions. Apache Pegasus changes them one by one and keeps
// the environment max_replica_count.update meanwhile; one entry of the journal does it at once.
type SetReplicas struct {
	AppID int32 `thrift:"1"`
	Count int32 `thrift:"2"`
}

// ExpireApps forgets the dropped tables whose time was over at Now (unix seconds). Notes are what the leader saw, see Observed;
// a command that brings some has Now 0.
type ExpireApps struct {
	Now   int64  `thrift:"1"`
	Notes []Note `thrift:"2,opt"`
}

// Command is one entry of the journal: {format version, kind, origin, seq, body}. Origin and Seq name the proposal to
// the meta that made it and mean nothing to the state.
type Command struct {
	Kind   CommandKind
	Origin uint64
	Seq    uint64
	Body   any // pointer to the struct of the kind
}

const (
	commandVersion   = 1
	commandHeaderLen = 18
)

// ErrCommandVersion means that the journal was written by a newer program. The meta must not go on: it would leave out a
// change that the others made.
var ErrCommandVersion = errors.New("core: command of a newer version in the journal")

// AppendCommand appends the encoding of c.
func AppendCommand(dst []byte, c *Command) []byte {
	dst = append(dst, commandVersion, byte(c.Kind))
	dst = binary.BigEndian.AppendUint64(dst, c.Origin)
	dst = binary.BigEndian.AppendUint64(dst, c.Seq)
	return proto.Marshal(dst, c.Body)
}

// ParseCommand decodes a journal entry. Any error is fatal for the meta that reads it: entries are written by metas
// only and the journal guards their bytes.
func ParseCommand(b []byte) (Command, error) {
	if len(b) < commandHeaderLen {
		return Command{}, fmt.Errorf("core: command of %d bytes", len(b))
	}
	if b[0] != commandVersion {
		return Command{}, fmt.Errorf("%w: version %d, this program knows %d", ErrCommandVersion, b[0], commandVersion)
	}
	c := Command{
		Kind:   CommandKind(b[1]),
		Origin: binary.BigEndian.Uint64(b[2:]),
		Seq:    binary.BigEndian.Uint64(b[10:]),
	}
	switch c.Kind {
	case CommandCreateApp:
		c.Body = new(CreateApp)
	case CommandDropApp:
		c.Body = new(DropApp)
	case CommandUpdateConfig:
		c.Body = new(UpdateConfig)
	case CommandUpdateAppEnv:
		c.Body = new(UpdateAppEnv)
	case CommandRegisterNode:
		c.Body = new(RegisterNode)
	case CommandExpireApps:
		c.Body = new(ExpireApps)
	case CommandReconfigure:
		c.Body = new(Reconfigure)
	case CommandSetReplicas:
		c.Body = new(SetReplicas)
	case CommandRecallApp:
		c.Body = new(RecallApp)
	case CommandRenameApp:
		c.Body = new(RenameApp)
	case CommandSetIdempotent:
		c.Body = new(SetIdempotent)
	case CommandSetOption:
		c.Body = new(SetOption)
	case CommandStartJob:
		c.Body = new(StartJob)
	case CommandMoveJob:
		c.Body = new(MoveJob)
	case CommandReturnNode:
		c.Body = new(ReturnNode)
	case CommandAppoint:
		c.Body = new(Appoint)
	case CommandRecover:
		c.Body = new(Recover)
	default:
		return Command{}, fmt.Errorf("%w: kind %d", ErrCommandVersion, b[1])
	}
	if err := proto.Unmarshal(b[commandHeaderLen:], c.Body); err != nil {
		return Command{}, fmt.Errorf("core: command kind %d: %w", c.Kind, err)
	}
	return c, nil
}
