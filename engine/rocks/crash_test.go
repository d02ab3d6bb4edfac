package rocks_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pegasus/engine"
	"pegasus/engine/rocks"
	"pegasus/netcore/proto"
)

// A child process applies and flushes as fast as it can; the parent kills it at a random point of its output, opens what
// is left and checks that the content is exactly that of the decree that the store came back with.

const (
	crashDirEnv  = "PEGASUS_ROCKS_CRASH_DIR"
	crashSeedEnv = "PEGASUS_ROCKS_CRASH_SEED"
	crashSlots   = 500
)

func slotKey(slot int64) []byte {
	return engine.AppendKey(nil, fmt.Appendf(nil, "h%d", slot%7), fmt.Appendf(nil, "%04d", slot))
}

// slotValue is what decree d writes: its number, and padding that makes memtables fill at odd places.
func slotValue(d int64) []byte {
	return append(strconv.AppendInt(nil, d, 10), bytes.Repeat([]byte{'.'}, int(d*7919%900))...)
}

// slotBatch is the mutation of decree d: two slots are written in one step, one is deleted.
func slotBatch(d int64) []byte {
	var b engine.BatchBuilder
	b.Put(slotKey(d%crashSlots), 0, 0, slotValue(d))
	b.Put(slotKey(d*3%crashSlots+crashSlots), 0, 0, slotValue(d))
	b.Delete(slotKey(d * 5 % crashSlots))
	return b.Bytes()
}

// slotContent is what a store at decree d holds.
func slotContent(d int64) map[string]string {
	want := map[string]string{}
	for i := int64(1); i <= d; i++ {
		want[string(slotKey(i%crashSlots))] = string(slotValue(i))
		want[string(slotKey(i*3%crashSlots+crashSlots))] = string(slotValue(i))
		delete(want, string(slotKey(i*5%crashSlots)))
	}
	return want
}

func crashOptions(s *rocks.Shared) rocks.Options {
	return rocks.Options{Shared: s, WriteBufferBytes: 64 << 10, TargetFileBytes: 64 << 10, LevelBaseBytes: 256 << 10}
}

// TestCrashChild is the body of the child.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashDirEnv)
	if dir == "" {
		t.Skip("runs as a child of TestCrash")
	}
	seed, err := strconv.ParseUint(os.Getenv(crashSeedEnv), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(seed, 4))
	s, err := rocks.Open(dir, crashOptions(shared))
	if err != nil {
		t.Fatal(err)
	}
	for d := int64(s.AppliedDecree()) + 1; ; d++ {
		if err := s.Apply(proto.Decree(d), slotBatch(d)); err != nil {
			t.Fatal(err)
		}
		switch {
		case r.IntN(200) == 0:
			flushed, err := s.Flush()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Printf("flushed %d\n", flushed)
		case r.IntN(2000) == 0:
			go s.Compact(engine.CompactOptions{})
		case r.IntN(20) == 0:
			fmt.Printf("flushed %d\n", s.FlushedDecree())
		}
	}
}

func TestCrash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 5))
	var last int64
	for round := range 12 {
		acknowledged := crashRound(t, dir, seed+uint64(round), 1+r.IntN(120))
		s, err := rocks.Open(dir, crashOptions(shared))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		d := int64(s.AppliedDecree())
		if d < last || d < acknowledged || int64(s.FlushedDecree()) != d {
			t.Fatalf("round %d: came back with decree %d, flushed %d; had %d, then flushed %d", round, d, s.FlushedDecree(), last, acknowledged)
		}
		got := content(t, s)
		want := slotContent(d)
		for k, v := range want {
			if got[k] != v {
				t.Fatalf("round %d: at decree %d %q is %.20q, want %.20q", round, d, k, got[k], v)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("round %d: %d records at decree %d, want %d", round, len(got), d, len(want))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		last = d
	}
	if last == 0 {
		t.Fatal("no child lived to flush anything: the test proves nothing")
	}
	t.Logf("decree %d after the last round", last)
}

// crashRound runs a child, kills it after it has printed lines lines and returns the last decree it called flushed.
func crashRound(t *testing.T, dir string, seed uint64, lines int) (flushed int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
	cmd.Env = append(os.Environ(), crashDirEnv+"="+dir, fmt.Sprintf("%s=%d", crashSeedEnv, seed))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	for range lines {
		if !in.Scan() {
			break
		}
		if _, err := fmt.Sscanf(in.Text(), "flushed %d", &flushed); err != nil {
			t.Errorf("child says %q", in.Text())
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() || t.Failed() {
		t.Fatalf("child was not killed: %v\n%s", err, stderr.Bytes())
	}
	return flushed
}

// content reads a whole store.
func content(t *testing.T, s engine.Store) map[string]string {
	t.Helper()
	it, err := s.NewIterator(engine.IterOptions{Tier: engine.TierAll})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	out := map[string]string{}
	var rows engine.Rows
	for more := true; more; {
		var o engine.Outcome
		if more, o, err = it.Next(&rows, engine.SliceLimit{MaxRows: 100}); o != engine.Found {
			t.Fatal(o, err)
		}
		rows.Each(func(k, raw []byte) bool {
			v, err := engine.ParseValue(s.DataVersion(), raw)
			if err != nil {
				t.Fatal(err)
			}
			out[string(k)] = string(v.User)
			return true
		})
	}
	return out
}
