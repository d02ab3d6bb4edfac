package consensus

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"pegasus/netcore/proto"
)

// TestScripts runs testdata/alone/*.txt, groups of one: one rule per file. Run with -rewrite to accept new output.
//
// Commands:
//
//	new [ballot=B] [durable=D] [committed=D] [log=FROM-TO] [logballot=B] [mutations=N] [bytes=N]
//	configure ballot=B primary=me|other|none
//	propose [tokens=(T,...)] [bytes=N] [ts=T]   the timestamp rises by itself unless given
//	synced decree=D
//	failed
//	flushed decree=D
//	state
//
// An event prints its effects in order and then the state.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/alone", func(t *testing.T, path string) {
		var s script
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return s.run(t, d) })
	})
}

type script struct {
	r    *Replica
	last int64
}

var (
	me    = proto.NodeID{1}
	other = proto.NodeID{2}
	nodes = map[string]proto.NodeID{"me": me, "other": other, "none": {}}
)

func number(t *testing.T, d *datadriven.TestData, key string, otherwise int64) int64 {
	v := otherwise
	d.MaybeScanArgs(t, key, &v)
	return v
}

func (s *script) run(t *testing.T, d *datadriven.TestData) (output string) {
	ev := Event{}
	switch d.Cmd {
	case "new":
		return s.create(t, d)
	case "state":
		return s.state()
	case "configure":
		var primary string
		d.ScanArgs(t, "primary", &primary)
		ev = Event{Kind: EventConfigure, Config: Config{Ballot: proto.Ballot(number(t, d, "ballot", 0)), Primary: nodes[primary]}}
	case "propose":
		s.last = number(t, d, "ts", s.last+1)
		ev = Event{Kind: EventPropose, Timestamp: s.last, Batch: make([]byte, number(t, d, "bytes", 10)), Tokens: tokens(t, d)}
	case "synced":
		ev = Event{Kind: EventLogSynced, Decree: proto.Decree(number(t, d, "decree", 0))}
	case "failed":
		ev = Event{Kind: EventLogFailed}
	case "flushed":
		ev = Event{Kind: EventFlushed, Decree: proto.Decree(number(t, d, "decree", 0))}
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
	defer func() {
		if p := recover(); p != nil {
			output = fmt.Sprintln(p)
		}
	}()
	var out Effects
	s.r.Step(&ev, &out)
	return describe(&out) + s.state()
}

func (s *script) create(t *testing.T, d *datadriven.TestData) string {
	st := Restored{
		Ballot:    proto.Ballot(number(t, d, "ballot", 0)),
		Durable:   proto.Decree(number(t, d, "durable", 0)),
		Committed: proto.Decree(number(t, d, "committed", 0)),
	}
	s.last = 0
	var log string
	d.MaybeScanArgs(t, "log", &log)
	if log != "" {
		var from, to proto.Decree
		if _, err := fmt.Sscanf(log, "%d-%d", &from, &to); err != nil {
			t.Fatal(err)
		}
		for ; from <= to; from++ {
			s.last++
			st.Log = append(st.Log, Mutation{
				Ballot: proto.Ballot(number(t, d, "logballot", 1)), Decree: from, Timestamp: s.last, Batch: make([]byte, 10),
			})
		}
	}
	limits := Limits{Mutations: int(number(t, d, "mutations", 0)), Bytes: int(number(t, d, "bytes", 0))}
	s.r = NewReplica(proto.GPID{App: 2, Part: 3}, me, limits, st)
	return s.state()
}

func tokens(t *testing.T, d *datadriven.TestData) []uint64 {
	for _, a := range d.CmdArgs {
		if a.Key != "tokens" {
			continue
		}
		ts := make([]uint64, len(a.Vals))
		for i := range a.Vals {
			a.Scan(t, i, &ts[i])
		}
		return ts
	}
	return nil
}

func describe(out *Effects) string {
	var b strings.Builder
	for _, m := range out.Append {
		fmt.Fprintf(&b, "append decree=%d ballot=%d committed=%d ts=%d bytes=%d tokens=%v\n",
			m.Decree, m.Ballot, m.Committed, m.Timestamp, len(m.Batch), m.Tokens)
	}
	for _, m := range out.Commit {
		fmt.Fprintf(&b, "commit decree=%d ballot=%d tokens=%v\n", m.Decree, m.Ballot, m.Tokens)
	}
	for _, r := range out.Rejects {
		fmt.Fprintf(&b, "reject %v tokens=%v\n", r.Err, r.Tokens)
	}
	return b.String()
}

func (s *script) state() string {
	st := s.r.State()
	failed := ""
	if st.LogFailed {
		failed = " log-failed"
	}
	return fmt.Sprintf("%v ballot=%d durable=%d committed=%d logged=%d prepared=%d window=%d/%dB%s\n", st.Role, st.Config.Ballot,
		st.Durable, st.Committed, st.Logged, st.Prepared, st.WindowMutations, st.WindowBytes, failed)
}
