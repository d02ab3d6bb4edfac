// Package enginetest holds every implementation of engine.Store to the same behaviour: Run is the contract, case by
// case; Metamorphic drives a store and the model with the same random operations and compares what they show.
//
// It knows no implementation; it is given functions that open one.
package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// Opener opens the store in dir, creating it when dir is missing or empty. Opening a directory again after Close, without
// a Flush, must behave like a restart after a crash.
type Opener func(t testing.TB, dir string) engine.Store

// Run runs the contract.
func Run(t *testing.T, open Opener) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Opener)
	}{
		{"Get", testGet},
		{"GetGrowsArena", testGetGrowsArena},
		{"ApplyOrder", testApplyOrder},
		{"ApplyRefusesGarbage", testApplyRefusesGarbage},
		{"EmptyMutation", testEmptyMutation},
		{"Decrees", testDecrees},
		{"Checkpoint", testCheckpoint},
		{"ScanBounds", testScanBounds},
		{"ScanSlices", testScanSlices},
		{"ScanKeysOnly", testScanKeysOnly},
		{"ScanSnapshot", testScanSnapshot},
		{"ScanOneHashKey", testScanOneHashKey},
		{"BinaryKeys", testBinaryKeys},
		{"Filter", testFilter},
		{"Rules", testRules},
		{"Tune", testTune},
		{"Closed", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open) })
	}
}

// key is a raw key.
func key(hash, sort string) []byte { return engine.AppendKey(nil, []byte(hash), []byte(sort)) }

// batch builds a batch of puts without expiry from pairs of raw key and user data.
func batch(pairs ...[]byte) []byte {
	var b engine.BatchBuilder
	for i := 0; i < len(pairs); i += 2 {
		b.Put(pairs[i], 0, 0, pairs[i+1])
	}
	return b.Bytes()
}

func remove(keys ...[]byte) []byte {
	var b engine.BatchBuilder
	for _, k := range keys {
		b.Delete(k)
	}
	return b.Bytes()
}

func apply(t testing.TB, s engine.Store, d proto.Decree, batches ...[]byte) {
	t.Helper()
	if err := s.Apply(d, batches...); err != nil {
		t.Fatalf("apply of decree %d: %v", d, err)
	}
}

// get returns the user data of a raw key.
func get(t testing.TB, s engine.Store, k []byte) (string, bool) {
	t.Helper()
	var b engine.GetBatch
	b.Add(k)
	s.MultiGet(&b, engine.TierAll)
	switch b.Outcome(0) {
	case engine.NotFound:
		return "", false
	case engine.Found:
		v, err := engine.ParseValue(s.DataVersion(), b.Value(0))
		if err != nil {
			t.Fatal(err)
		}
		return string(v.User), true
	}
	t.Fatalf("get of %q: outcome %d, %v", k, b.Outcome(0), b.Err(0))
	return "", false
}

func wantGet(t testing.TB, s engine.Store, k []byte, want string) {
	t.Helper()
	if got, ok := get(t, s, k); !ok || got != want {
		t.Fatalf("%q is %q, found %v; want %q", k, got, ok, want)
	}
}

func wantGone(t testing.TB, s engine.Store, k []byte) {
	t.Helper()
	if got, ok := get(t, s, k); ok {
		t.Fatalf("%q is %q; want none", k, got)
	}
}

// scan returns "key=user" of a whole range, in slices of at most max rows.
func scan(t testing.TB, s engine.Store, o engine.IterOptions, max int) []string {
	t.Helper()
	it, err := s.NewIterator(o)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	return drain(t, s, it, max)
}

func drain(t testing.TB, s engine.Store, it engine.Iterator, max int) []string {
	t.Helper()
	var rows engine.Rows
	var out []string
	for {
		more, o, err := it.Next(&rows, engine.SliceLimit{MaxRows: max})
		if o != engine.Found {
			t.Fatalf("scan: outcome %d, %v", o, err)
		}
		if rows.Len() > max || more && rows.Len() == 0 {
			t.Fatalf("slice of %d rows with limit %d, more %v", rows.Len(), max, more)
		}
		rows.Each(func(k, raw []byte) bool {
			v, err := engine.ParseValue(s.DataVersion(), raw)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprintf("%s=%s", k, v.User))
			return true
		})
		if !more {
			return out
		}
	}
}

func wantRows(t testing.TB, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("rows %q, want %q", got, want)
	}
}

func closeStore(t testing.TB, s engine.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// fresh opens a new store that is closed with the test.
func fresh(t *testing.T, open Opener) engine.Store {
	t.Helper()
	s := open(t, filepath.Join(t.TempDir(), "store"))
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func testGet(t *testing.T, open Opener) {
	s := fresh(t, open)
	apply(t, s, 1, batch(key("h", "a"), []byte("1"), key("h", "b"), nil))
	var b engine.GetBatch
	for range 3 { // a batch is used again and again
		b.Reset()
		for _, k := range [][]byte{key("h", "b"), key("h", "none"), key("h", "a"), key("h", "a"), nil} {
			b.Add(k)
		}
		s.MultiGet(&b, engine.TierAll)
		for i, want := range []engine.Outcome{engine.Found, engine.NotFound, engine.Found, engine.Found, engine.NotFound} {
			if b.Outcome(i) != want || b.Err(i) != nil {
				t.Fatalf("key %d: outcome %d, %v; want %d", i, b.Outcome(i), b.Err(i), want)
			}
		}
		if got := b.Value(2); !bytes.Equal(got[engine.ValueHeaderLen:], []byte("1")) {
			t.Fatalf("value %q", got)
		}
		if got := b.Value(0); len(got) != engine.ValueHeaderLen {
			t.Fatalf("empty value is stored as %q", got)
		}
	}
	var none engine.GetBatch
	s.MultiGet(&none, engine.TierAll)
}

func testGetGrowsArena(t *testing.T, open Opener) {
	s := fresh(t, open)
	const n = 100 // more than one chunk of any implementation
	var pairs [][]byte
	for i := range n {
		pairs = append(pairs, key("h", fmt.Sprintf("%03d", i)), bytes.Repeat([]byte{byte(i)}, i*i))
	}
	apply(t, s, 1, batch(pairs...))
	var b engine.GetBatch
	for range 2 {
		b.Reset()
		for i := range n {
			b.Add(key("h", fmt.Sprintf("%03d", n-1-i)))
			b.Add(key("none", ""))
		}
		s.MultiGet(&b, engine.TierAll)
		for i := range n {
			want := pairs[2*(n-1-i)+1]
			if b.Outcome(2*i) != engine.Found || !bytes.Equal(b.Value(2 * i)[engine.ValueHeaderLen:], want) {
				t.Fatalf("key %d: outcome %d, %d bytes", i, b.Outcome(2*i), len(b.Value(2*i)))
			}
			if b.Outcome(2*i+1) != engine.NotFound {
				t.Fatalf("missing key %d: outcome %d", i, b.Outcome(2*i+1))
			}
		}
	}
}

func testApplyOrder(t *testing.T, open Opener) {
	s := fresh(t, open)
	a := key("h", "a")
	apply(t, s, 3, batch(a, []byte("1"), a, []byte("2")), remove(a), batch(a, []byte("3")))
	wantGet(t, s, a, "3")
	apply(t, s, 4, batch(a, []byte("4")), remove(a))
	wantGone(t, s, a)
	apply(t, s, 5, remove(a, key("h", "never")))
	wantGone(t, s, a)
}

func testApplyRefusesGarbage(t *testing.T, open Opener) {
	s := fresh(t, open)
	a := key("h", "a")
	good := batch(a, []byte("1"))
	for i, bad := range [][]byte{
		good[:len(good)-1],
		append(bytes.Clone(good), 0),
		{9, 0, 0, 0},
		{1, 0},
		// A put into column family 1, where the decree lives.
		{1, 0, 0, 0, 0x5, 1, 1, 'k', 1, 'v'},
	} {
		if err := s.Apply(1, good, bad); !errors.Is(err, engine.ErrBadBatch) {
			t.Fatalf("batch %d: %v", i, err)
		}
	}
	wantGone(t, s, a)
	if s.AppliedDecree() != 0 {
		t.Fatalf("applied decree %d after refused batches", s.AppliedDecree())
	}
	apply(t, s, 1, good)
	wantGet(t, s, a, "1")
}

func testEmptyMutation(t *testing.T, open Opener) {
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, dir)
	apply(t, s, 1)
	apply(t, s, 2, nil, []byte{0, 0, 0, 0}, nil)
	if d, err := s.Flush(); err != nil || d != 2 {
		t.Fatalf("flushed %d, %v", d, err)
	}
	closeStore(t, s)
	s = open(t, dir)
	defer closeStore(t, s)
	if s.AppliedDecree() != 2 {
		t.Fatalf("decree %d after reopening", s.AppliedDecree())
	}
}

func testDecrees(t *testing.T, open Opener) {
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, dir)
	want := func(applied, flushed proto.Decree) {
		t.Helper()
		if s.AppliedDecree() != applied || s.FlushedDecree() != flushed {
			t.Fatalf("applied %d, flushed %d; want %d, %d", s.AppliedDecree(), s.FlushedDecree(), applied, flushed)
		}
	}
	a, b := key("h", "a"), key("h", "b")
	want(0, 0)
	apply(t, s, 5, batch(a, []byte("1")))
	want(5, 0)
	if d, err := s.Flush(); err != nil || d != 5 {
		t.Fatalf("flushed %d, %v", d, err)
	}
	want(5, 5)
	apply(t, s, 9, batch(a, []byte("2"), b, []byte("2")))
	want(9, 5)
	closeStore(t, s)

	s = open(t, dir)
	want(5, 5)
	wantGet(t, s, a, "1")
	wantGone(t, s, b)
	// The log replays what was lost.
	apply(t, s, 6, batch(b, []byte("3")))
	want(6, 5)
	if err := s.Compact(engine.CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	want(6, 6)
	closeStore(t, s)

	s = open(t, dir)
	defer closeStore(t, s)
	want(6, 6)
	wantGet(t, s, b, "3")
}

func testCheckpoint(t *testing.T, open Opener) {
	s := fresh(t, open)
	dir := t.TempDir()
	a := key("h", "a")
	checkpoint := func(name string, flush bool, want proto.Decree) {
		t.Helper()
		if d, err := s.Checkpoint(filepath.Join(dir, name), flush); err != nil || d != want {
			t.Fatalf("checkpoint of decree %d, %v; want %d", d, err, want)
		}
	}
	checkpoint("empty", false, 0)
	apply(t, s, 1, batch(a, []byte("1")))
	checkpoint("one", true, 1)
	apply(t, s, 2, batch(a, []byte("2")))
	checkpoint("still one", false, 1)
	checkpoint("two", true, 2)
	if _, err := s.Checkpoint(filepath.Join(dir, "two"), true); !errors.Is(err, engine.ErrIO) {
		t.Fatalf("checkpoint over another: %v", err)
	}
	apply(t, s, 3, remove(a))
	if err := s.Compact(engine.CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"empty": "", "one": "1", "still one": "1", "two": "2"} {
		c := open(t, filepath.Join(dir, name))
		if got, _ := get(t, c, a); got != want {
			t.Errorf("checkpoint %s holds %q, want %q", name, got, want)
		}
		// A checkpoint is a store of its own.
		apply(t, c, 10, batch(a, []byte("mine")))
		wantGet(t, c, a, "mine")
		closeStore(t, c)
	}
	wantGone(t, s, a)
}
