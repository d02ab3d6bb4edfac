package perf

import (
	"bufio"
	"context"
	_ "embed" // the sources of the floor
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pegasus/netcore/proto"
)

// The floor is what the machine's parts cost without us: C and C++ programs that are compiled on the spot and measured in the
// same run as the cluster, because only ratios of one run mean anything on a machine that is not quiet.

//go:embed floor/echo.c
var echoSource []byte

//go:embed floor/store.cc
var storeSource []byte

// Floor is a measurement of the parts, in CPU microseconds.
type Floor struct {
	GetEcho float64 `json:"get_echo"` // a request and its answer of the sizes of a get, at the depth measured
	SetEcho float64 `json:"set_echo"` // likewise of a set
	Get     float64 `json:"get"`      // of a record, by C++
	Put     float64 `json:"put"`      // of one record of a batch, by C++
	Log     float64 `json:"log"`      // one write of a batch of records and its fdatasync
	Batch   int     `json:"batch"`    // records of a batch
}

// GetLimit is what a get would cost a server that added nothing to its parts.
func (f *Floor) GetLimit() float64 { return f.GetEcho + f.Get }

// SetLimit is what a set on members servers would cost them together: each puts it and writes its share of a log batch, and
// the messages between client and primary, and for each further member a prepare and its answer, are carried.
func (f *Floor) SetLimit(members int, syncsPerOp float64) float64 {
	return float64(members)*f.Put + syncsPerOp*f.Log + float64(members)*f.SetEcho
}

// FloorOptions say where to build and what to measure.
type FloorOptions struct {
	Dir string // folder to build and to put data in
	// CXXFlags and LDFlags find a RocksDB; empty: that of the system.
	CXXFlags, LDFlags []string
	Conns, Depth      int
	Duration          time.Duration
	Work              Workload
	Partitions, Batch int
	CacheMiB          int
}

// MeasureFloor builds and runs the programs.
func MeasureFloor(ctx context.Context, o FloorOptions) (*Floor, error) {
	f := &Floor{Batch: o.Batch}
	echo, err := compile(ctx, o.Dir, "echo", ".c", echoSource, "gcc", nil, nil)
	if err != nil {
		return nil, err
	}
	ld := o.LDFlags
	if len(ld) == 0 {
		ld = []string{"-lrocksdb"}
	}
	store, err := compile(ctx, o.Dir, "store", ".cc", storeSource, "g++", o.CXXFlags, ld)
	if err != nil {
		return nil, err
	}
	if f.GetEcho, err = measureEcho(ctx, echo, o, Get); err != nil {
		return nil, err
	}
	if f.SetEcho, err = measureEcho(ctx, echo, o, Put); err != nil {
		return nil, err
	}
	return f, f.measureStore(ctx, store, o)
}

func compile(ctx context.Context, dir, name, suffix string, source []byte, compiler string, flags, libs []string) (string, error) {
	file := filepath.Join(dir, name+suffix)
	if err := os.WriteFile(file, source, 0o644); err != nil {
		return "", err
	}
	out := filepath.Join(dir, name)
	args := append([]string{"-O2", "-DNDEBUG", "-o", out}, flags...)
	text, err := exec.CommandContext(ctx, compiler, append(append(args, file), libs...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", compiler, file, err, text)
	}
	return out, nil
}

// Echo drives the echo server with frames of the sizes that a get or a put has on the wire.
type Echo struct {
	Address        string
	Request, Reply int // bytes of a frame, at least 8
}

// Name implements Driver.
func (d *Echo) Name() string { return "echo" }

// Supports implements Driver.
func (d *Echo) Supports(k Kind) bool { return k == Get || k == Put }

// Servers implements Driver.
func (d *Echo) Servers(context.Context) []Server { return nil }

type echoConn struct {
	*pipeline
	frame []byte
}

// Dial implements Driver.
func (d *Echo) Dial(ctx context.Context, _ int) (Conn, error) {
	if d.Request < 8 || d.Reply < 8 {
		return nil, errors.New("perf: a frame has 8 bytes at least")
	}
	conn, err := dialPipeline(ctx, d.Address, func(r *bufio.Reader) (bool, error) {
		_, err := r.Discard(d.Reply)
		return false, err
	})
	if err != nil {
		return nil, err
	}
	frame := binary.LittleEndian.AppendUint32(nil, uint32(d.Request))
	frame = binary.LittleEndian.AppendUint32(frame, uint32(d.Reply))
	return &echoConn{conn, append(frame, make([]byte, d.Request-8)...)}, nil
}

func (c *echoConn) Slot() Slot {
	return &pipelined{conn: c.pipeline, request: func(out []byte) []byte { return append(out, c.frame...) }}
}

// wireSizes returns the bytes of a request and its reply.
func wireSizes(w *Workload, kind Kind) (request, reply int) {
	raw := make([]byte, 2+w.KeySize)
	code, args, answer := proto.CodeGet, proto.AppendBlobArg(nil, raw), getReply(w.ValueSize)
	if kind == Put {
		put := proto.PutRequest{Key: raw, Value: make([]byte, w.ValueSize)}
		code, args, answer = proto.CodePut, put.AppendArgs(nil), putReply()
	}
	frame, mark := proto.AppendRequest(nil, code, proto.GPID{App: 1, Part: 1}, 1, 1000, 1)
	frame = proto.FinishRequest(append(frame, args...), mark)
	return len(frame), len(answer)
}

// okReply is the reply of a request that went well; result appends its result.
func okReply(code proto.Code, result func(dst []byte) []byte) []byte {
	frame, mark := proto.AppendReply(nil, &proto.ReplyTo{Code: code, Seq: 1}, proto.ErrOK, 0)
	return proto.FinishReply(result(frame), mark)
}

// someServer is as long as the address that a server puts into its replies.
var someServer = []byte("127.0.0.1:34801")

func getReply(valueSize int) []byte {
	read := proto.ReadResponse{Value: make([]byte, valueSize), GPID: proto.GPID{App: 1, Part: 1}, Server: someServer}
	return okReply(proto.CodeGet, read.AppendResult)
}

func putReply() []byte {
	done := proto.UpdateResponse{GPID: proto.GPID{App: 1, Part: 1}, Decree: 1, Server: someServer}
	return okReply(proto.CodePut, done.AppendResult)
}

func measureEcho(ctx context.Context, program string, o FloorOptions, kind Kind) (us float64, err error) {
	w := o.Work
	w.Mix = Mix{kind: 1}
	r, err := loadEcho(ctx, program, Config{Conns: o.Conns, Depth: o.Depth, Work: w, Warmup: o.Duration / 4, Duration: o.Duration}, kind)
	if err != nil {
		return 0, err
	}
	if r.Failed > 0 {
		return 0, fmt.Errorf("echo: %v", r.Errors)
	}
	return r.ServerUSPerOp, nil
}

// EchoLoad puts the load of c on a server that only echoes, in frames of the sizes of gets, and builds that server in dir: what
// client and machine alone do to latencies. Driver, processes and progress of c are not used.
func EchoLoad(ctx context.Context, dir string, c Config) (*Report, error) {
	echo, err := compile(ctx, dir, "echo", ".c", echoSource, "gcc", nil, nil)
	if err != nil {
		return nil, err
	}
	return loadEcho(ctx, echo, c, Get)
}

func loadEcho(ctx context.Context, program string, c Config, kind Kind) (r *Report, err error) {
	cmd := exec.CommandContext(ctx, program)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stdin.Close(), cmd.Wait()) }()
	var port int
	if _, err := fmt.Fscan(stdout, &port); err != nil {
		return nil, fmt.Errorf("echo says no port: %w", err)
	}
	request, reply := wireSizes(&c.Work, kind)
	c.Driver = &Echo{Address: "127.0.0.1:" + strconv.Itoa(port), Request: request, Reply: reply}
	c.Processes, c.Progress = []Process{{PID: cmd.Process.Pid, Name: "echo"}}, io.Discard
	return Run(ctx, c)
}

func (f *Floor) measureStore(ctx context.Context, program string, o FloorOptions) error {
	dir, err := os.MkdirTemp(o.Dir, "store-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	args := []string{dir, strconv.FormatUint(o.Work.Records, 10), strconv.Itoa(o.Partitions), strconv.Itoa(o.Batch), strconv.Itoa(o.CacheMiB)}
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	found := 0
	for line := range strings.Lines(string(out)) {
		var name string
		var us float64
		if n, _ := fmt.Sscan(line, &name, &us); n != 2 {
			continue
		}
		if into := map[string]*float64{"get": &f.Get, "put": &f.Put, "log": &f.Log}[name]; into != nil {
			*into = us
			found++
		}
	}
	if found != 3 {
		return fmt.Errorf("store printed %q", out)
	}
	return nil
}
