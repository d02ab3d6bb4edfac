package proto

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

func replSamples() []ReplMessage {
	return []ReplMessage{
		{Type: ReplPrepare, GPID: GPID{App: 2, Part: 7}, Ballot: 3, Decree: 1 << 40, Committed: 5, Timestamp: 1700000000000000,
			Term: 9, Batch: []byte("batch")},
		{Type: ReplPing, Learner: true, GPID: GPID{App: 1, Part: -1}, Ballot: 4, Term: 1, Primary: NodeID{0: 1, 15: 2},
			Secondaries: []NodeID{{0: 3}, {15: 4}}},
		{Type: ReplPrepareAck, GPID: GPID{App: 2, Part: 7}, Ballot: 3, Decree: 8, Committed: 6, Term: 9},
		{Type: ReplPing, GPID: GPID{App: 1}, Ballot: 4, Primary: NodeID{0: 1}},
	}
}

// The bytes of a message are a format on the wire between versions: they may change only with ReplVersion.
func TestReplGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/repl_v1.hex")
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for _, m := range replSamples() {
		before := len(got)
		got = AppendReplMessage(got, &m)
		if n := len(got) - before; n != ReplMessageLen(&m) {
			t.Errorf("%v: %d bytes, ReplMessageLen says %d", m.Type, n, ReplMessageLen(&m))
		}
	}
	got = AppendLeaseMessage(got, &LeaseMessage{Ack: true, Incarnation: 1, For: 2, SentAt: 3})
	if !bytes.Equal(got, want) {
		t.Fatalf("built\n%x, want\n%x", got, want)
	}
	var m ReplMessage
	rest := want
	for _, s := range replSamples() {
		n, err := ParseReplMessage(rest, &m)
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
		if string(m.Batch) != string(s.Batch) || len(m.Secondaries) != len(s.Secondaries) {
			t.Errorf("%+v, want %+v", m, s)
		}
		m.Batch, s.Batch = nil, nil
		if len(s.Secondaries) == 0 {
			m.Secondaries = nil
		}
		if !reflect.DeepEqual(m, s) {
			t.Errorf("%+v, want %+v", m, s)
		}
	}
	var l LeaseMessage
	if err := ParseLeaseMessage(rest, &l); err != nil || l != (LeaseMessage{Ack: true, Incarnation: 1, For: 2, SentAt: 3}) {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestReplErrors(t *testing.T) {
	ping := replSamples()[1]
	whole := AppendReplMessage(nil, &ping)
	var m ReplMessage
	for cut := range whole {
		if _, err := ParseReplMessage(whole[:cut], &m); !errors.Is(err, ErrBadReplMessage) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	for _, c := range []struct {
		name string
		at   int
		to   byte
	}{
		{"type 0", 0, 0}, {"type unknown", 0, byte(ReplAbsent) + 1}, {"unknown flag", 1, 7},
		{"secondaries without a configuration", 1, 1}, {"too many secondaries", 2, MaxSecondaries + 1},
		{"more secondaries than bytes", 2, 3}, {"batch longer than the rest", 4, 1}, {"batch of gigabytes", 7, 0xff},
	} {
		bad := append([]byte(nil), whole...)
		bad[c.at] = c.to
		if _, err := ParseReplMessage(bad, &m); !errors.Is(err, ErrBadReplMessage) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	lease := AppendLeaseMessage(nil, &LeaseMessage{Incarnation: 1})
	var l LeaseMessage
	for _, bad := range [][]byte{nil, lease[:LeaseMessageLen-1], append(lease, 0), append([]byte{9}, lease[1:]...)} {
		if err := ParseLeaseMessage(bad, &l); !errors.Is(err, ErrBadReplMessage) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

func TestReplAllocations(t *testing.T) {
	prepare, buf := replSamples()[0], make([]byte, 0, 256)
	var m ReplMessage
	if n := testing.AllocsPerRun(100, func() {
		out := AppendReplMessage(buf, &prepare)
		if _, err := ParseReplMessage(out, &m); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What can be read can be written and read again, to the same bytes.
func FuzzParseReplMessage(f *testing.F) {
	for _, m := range replSamples() {
		f.Add(AppendReplMessage(nil, &m))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var m ReplMessage
		n, err := ParseReplMessage(in, &m)
		if err != nil {
			return
		}
		if n > len(in) || n != ReplMessageLen(&m) {
			t.Fatalf("n=%d of %d, length %d", n, len(in), ReplMessageLen(&m))
		}
		if out := AppendReplMessage(nil, &m); !bytes.Equal(out, in[:n]) {
			t.Fatalf("%x became %x", in[:n], out)
		}
	})
}

func BenchmarkReplPrepare(b *testing.B) {
	prepare := replSamples()[0]
	prepare.Batch = make([]byte, 1024)
	buf := make([]byte, 0, 2048)
	var m ReplMessage
	b.ReportAllocs()
	b.SetBytes(int64(ReplMessageLen(&prepare)))
	for b.Loop() {
		buf = AppendReplMessage(buf[:0], &prepare)
		if _, err := ParseReplMessage(buf, &m); err != nil {
			b.Fatal(err)
		}
	}
}
