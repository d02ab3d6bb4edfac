package perf

import (
	"bufio"
	"context"
	_ "embed" // the source of a member
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"pegasus/netcore/proto"
)

//go:embed floor/replica.c
var replicaSource []byte

// FloorGroup is a cluster of three C programs (floor/replica.c says what they leave out) that serves gets and puts of any client
// of Apache Pegasus: what a replicated, synced put and a get cost this machine at least. Each is a meta server, too, which
// names them as the primaries of a table in turn.
type FloorGroup struct{ members []*member }

// FloorGroupOptions say where a group lives and what it answers.
type FloorGroupOptions struct {
	Dir        string // folder to build and to put logs in
	LogMiB     int    // size of each log; 0: 64
	ValueSize  int    // of every record, bytes; 60,000 at most
	Partitions int    // of the table; 0: 8
}

const (
	floorMembers    = 3
	floorLogMiB     = 64
	floorPartitions = 8
	floorMaxValue   = 60_000
)

// StartFloorGroup builds the program and starts three of it. They end with Close, or with ctx.
func StartFloorGroup(ctx context.Context, o FloorGroupOptions) (g *FloorGroup, err error) {
	if o.LogMiB == 0 {
		o.LogMiB = floorLogMiB
	}
	if o.Partitions == 0 {
		o.Partitions = floorPartitions
	}
	if o.ValueSize < 0 || o.ValueSize > floorMaxValue {
		return nil, fmt.Errorf("values of %d bytes: want 0 to %d", o.ValueSize, floorMaxValue)
	}
	program, err := compile(ctx, o.Dir, "replica", ".c", replicaSource, "gcc", nil, nil)
	if err != nil {
		return nil, err
	}
	g = &FloorGroup{}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Close())
		}
	}()
	for i := range floorMembers {
		m, err := startMember(ctx, program, filepath.Join(o.Dir, "log"+strconv.Itoa(i+1)), o.LogMiB)
		if err != nil {
			return g, err
		}
		g.members = append(g.members, m)
	}
	for i, m := range g.members {
		if err := m.configure(g.members[:i], g.replies(o)); err != nil {
			return g, err
		}
	}
	for _, m := range g.members {
		if line, err := m.stdout.ReadString('\n'); line != "ready\n" {
			return g, fmt.Errorf("a member of the floor says %q: %w", line, err)
		}
	}
	return g, nil
}

// replies are those that a member knows, ready-made.
func (g *FloorGroup) replies(o FloorGroupOptions) [][]byte {
	table := proto.QueryCfgResponse{AppID: 1, PartitionCount: int32(o.Partitions), IsStateful: true}
	for i := range o.Partitions {
		c := proto.PartitionConfiguration{PID: proto.GPID{App: 1, Part: int32(i)}, Ballot: 1, MaxReplicaCount: floorMembers}
		for j, m := range g.members {
			if j == i%len(g.members) {
				c.Primary = m.address
			} else {
				c.Secondaries = append(c.Secondaries, m.address)
			}
		}
		table.Partitions = append(table.Partitions, c)
	}
	alive := proto.Request{Code: proto.CodeTTL} // what our client asks a server that has been silent
	return [][]byte{
		okReply(proto.CodeCMQueryPartitionConfigByIndex, func(dst []byte) []byte { return proto.AppendResult(dst, &table) }),
		getReply(o.ValueSize),
		putReply(),
		proto.AppendErrorReply(nil, &alive, proto.ErrHandlerNotFound, 0),
	}
}

// Metas returns the addresses by which clients find the table, whatever they call it.
func (g *FloorGroup) Metas() (out []string) {
	for _, m := range g.members {
		out = append(out, m.address.String())
	}
	return out
}

// Processes are the members, for Config. Their counters are those of FloorGroup.Counters.
func (g *FloorGroup) Processes() (out []Process) {
	for i, m := range g.members {
		out = append(out, Process{PID: m.cmd.Process.Pid, Name: "floor" + strconv.Itoa(i+1), member: m})
	}
	return out
}

// Close ends the members.
func (g *FloorGroup) Close() error {
	var errs []error
	for _, m := range g.members {
		errs = append(errs, m.close())
	}
	return errors.Join(errs...)
}

// member is one program of a FloorGroup. It is asked from one goroutine at a time.
type member struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stdout  *bufio.Reader
	stderr  strings.Builder
	address proto.RPCAddress
}

func startMember(ctx context.Context, program, log string, logMiB int) (*member, error) {
	m := &member{cmd: exec.CommandContext(ctx, program, log, strconv.Itoa(logMiB))}
	m.cmd.Stderr = &m.stderr
	var err error
	if m.stdin, err = m.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.stdout = bufio.NewReader(out)
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	var port uint16
	if _, err := fmt.Fscanf(m.stdout, "%d\n", &port); err != nil {
		return nil, errors.Join(fmt.Errorf("a member of the floor says no port: %w", err), m.close())
	}
	m.address = proto.NewRPCAddress(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port))
	return m, nil
}

// configure tells a member which others to dial, and its replies.
func (m *member) configure(others []*member, replies [][]byte) error {
	out := binary.NativeEndian.AppendUint32(nil, uint32(len(others)))
	for _, o := range others {
		out = binary.NativeEndian.AppendUint32(out, uint32(o.address.Port()))
	}
	for _, r := range replies {
		out = append(out, r...)
	}
	_, err := m.stdin.Write(append(out, 0, 0, 0, 0))
	return err
}

// counters asks for what it has done since it began: requests, puts of clients, log_syncs.
func (m *member) counters() (map[string]uint64, error) {
	if _, err := m.stdin.Write([]byte("\n")); err != nil {
		return nil, err
	}
	line, err := m.stdout.ReadString('\n')
	if err != nil {
		return nil, err
	}
	words := strings.Fields(line)
	out := map[string]uint64{}
	for i := 1; i < len(words); i += 2 {
		if out[words[i-1]], err = strconv.ParseUint(words[i], 10, 64); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (m *member) close() error {
	err := errors.Join(m.stdin.Close(), m.cmd.Wait())
	if m.stderr.Len() > 0 {
		err = errors.Join(err, errors.New(m.stderr.String()))
	}
	return err
}
