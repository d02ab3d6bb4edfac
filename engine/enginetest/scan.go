package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pegasus/engine"
)

func testScanBounds(t *testing.T, open Opener) {
	s := fresh(t, open)
	var want []string
	for i, k := range []string{"a", "b", "c", "d"} {
		apply(t, s, s.AppliedDecree()+1, batch(key("h", k), []byte{byte('1' + i)}))
		want = append(want, fmt.Sprintf("%s=%d", key("h", k), i+1))
		if i == 1 { // some on storage, some in memory
			if _, err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		lower, upper string
		from, to     int // rows of want
	}{
		{"", "", 0, 4}, {"b", "", 1, 4}, {"b", "d", 1, 3}, {"", "c", 0, 2}, {"bb", "cc", 2, 3}, {"c", "c", 0, 0},
		{"d", "a", 0, 0}, {"x", "", 0, 0}, {"", "0", 0, 0},
	} {
		o := engine.IterOptions{Tier: engine.TierAll}
		if c.lower != "" {
			o.Lower = key("h", c.lower)
		}
		if c.upper != "" {
			o.Upper = key("h", c.upper)
		}
		for _, max := range []int{1, 2, 100} {
			o.Reverse = false
			wantRows(t, scan(t, s, o, max), want[c.from:c.to]...)
			o.Reverse = true
			back := slices.Clone(want[c.from:c.to])
			slices.Reverse(back)
			wantRows(t, scan(t, s, o, max), back...)
		}
	}
}

func testScanSlices(t *testing.T, open Opener) {
	s := fresh(t, open)
	value := bytes.Repeat([]byte("v"), 1000)
	const n = 200
	var pairs [][]byte
	for i := range n {
		pairs = append(pairs, key("h", fmt.Sprintf("%03d", i)), value)
	}
	apply(t, s, 1, batch(pairs...))
	it, err := s.NewIterator(engine.IterOptions{Tier: engine.TierAll})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	var rows engine.Rows
	next := func(l engine.SliceLimit, wantRows int, wantMore bool) {
		t.Helper()
		more, o, err := it.Next(&rows, l)
		if o != engine.Found || err != nil || more != wantMore || rows.Len() != wantRows {
			t.Fatalf("outcome %d, %v: %d rows, more %v; want %d, %v", o, err, rows.Len(), more, wantRows, wantMore)
		}
	}
	next(engine.SliceLimit{MaxRows: 10}, 10, true)
	size := len(pairs[0]) + len(value) + engine.ValueHeaderLen
	if rows.Bytes() != 10*size {
		t.Fatalf("%d bytes of rows, want %d", rows.Bytes(), 10*size)
	}
	// The limit of bytes is looked at after each row, so a slice may pass it by one row and never is empty.
	next(engine.SliceLimit{MaxBytes: 3*size + 1}, 4, true)
	next(engine.SliceLimit{MaxBytes: 1}, 1, true)
	next(engine.SliceLimit{MaxBytes: 1 << 20, MaxRows: 5}, 5, true)
	// Of time, every few rows.
	more, o, err := it.Next(&rows, engine.SliceLimit{MaxTime: time.Nanosecond})
	if o != engine.Found || err != nil || !more || rows.Len() == 0 || rows.Len() > 64 {
		t.Fatalf("outcome %d, %v: %d rows, more %v within a nanosecond", o, err, rows.Len(), more)
	}
	next(engine.SliceLimit{MaxRows: n, MaxTime: time.Hour}, n-20-rows.Len(), false)
	next(engine.SliceLimit{MaxRows: n}, 0, false)
}

func testScanKeysOnly(t *testing.T, open Opener) {
	s := fresh(t, open)
	var b engine.BatchBuilder
	b.Put(key("h", "a"), 77, 0, []byte("some data"))
	b.Put(key("h", "b"), 0, 0, nil)
	apply(t, s, 1, b.Bytes())
	it, err := s.NewIterator(engine.IterOptions{Tier: engine.TierAll})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	var rows engine.Rows
	if more, o, err := it.Next(&rows, engine.SliceLimit{MaxRows: 10, KeysOnly: true}); more || o != engine.Found || err != nil {
		t.Fatal(more, o, err)
	}
	var expires []uint32
	rows.Each(func(k, raw []byte) bool {
		v, err := engine.ParseValue(s.DataVersion(), raw)
		if err != nil || len(v.User) != 0 {
			t.Fatalf("%q: value %q, %v", k, raw, err)
		}
		expires = append(expires, v.Expire)
		return true
	})
	if !slices.Equal(expires, []uint32{77, 0}) {
		t.Fatalf("expiries %v", expires)
	}
}

func testScanSnapshot(t *testing.T, open Opener) {
	s := fresh(t, open)
	a, b, c := key("h", "a"), key("h", "b"), key("h", "c")
	apply(t, s, 1, batch(a, []byte("1"), b, []byte("1")))
	lower := bytes.Clone(a)
	it, err := s.NewIterator(engine.IterOptions{Lower: lower, Tier: engine.TierAll})
	if err != nil {
		t.Fatal(err)
	}
	clear(lower) // bounds are copied
	apply(t, s, 2, batch(a, []byte("2"), c, []byte("2")), remove(b))
	if err := s.Compact(engine.CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	wantRows(t, drain(t, s, it, 1), string(a)+"=1", string(b)+"=1")
	it.Close()
	it.Close() // allowed
	var rows engine.Rows
	if _, o, err := it.Next(&rows, engine.SliceLimit{MaxRows: 1}); o != engine.Failed || !errors.Is(err, engine.ErrClosed) {
		t.Fatalf("closed iterator: outcome %d, %v", o, err)
	}
	wantRows(t, scan(t, s, engine.IterOptions{Tier: engine.TierAll}, 10), string(a)+"=2", string(c)+"=2")
}

// testScanOneHashKey spreads hash keys over many files, so that a filter that lies shows.
func testScanOneHashKey(t *testing.T, open Opener) {
	s := fresh(t, open)
	hashes := []string{"", "a", "aa", "ab", "b", "\xff", "\xff\xff"}
	want := map[string][]string{}
	for round := range 3 {
		for _, h := range hashes {
			for i := range 3 {
				k := key(h, fmt.Sprintf("%d%d", round, i))
				apply(t, s, s.AppliedDecree()+1, batch(k, []byte("v")))
				want[h] = append(want[h], string(k)+"=v")
			}
			if _, err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, h := range append(hashes, "absent") {
		o := engine.IterOptions{Lower: key(h, ""), Upper: engine.AppendNextHashKey(nil, []byte(h)), Tier: engine.TierAll}
		wantRows(t, scan(t, s, o, 2), want[h]...)
		o.Reverse = true
		back := slices.Clone(want[h])
		slices.Reverse(back)
		wantRows(t, scan(t, s, o, 2), back...)
		o.Reverse = false
		// A start inside the hash key, and one that is no key of the store.
		o.Lower = key(h, "1")
		if len(want[h]) > 0 {
			wantRows(t, scan(t, s, o, 100), want[h][3:]...)
		}
		// Past the hash key all others follow.
		o.Upper = nil
		o.Lower = key(h, "")
		if got := scan(t, s, o, 100); len(want[h]) > 0 && len(got) < len(want[h]) {
			t.Fatalf("%d rows from hash key %q on", len(got), h)
		}
	}
}

// testBinaryKeys stores what is no regular raw key: it must come back, or be left out of the way, but never break the store.
func testBinaryKeys(t *testing.T, open Opener) {
	s := fresh(t, open)
	keys := [][]byte{{}, {0}, {0xff}, {0, 5, 'a'}, {0xff, 0xff}, append([]byte{0xff, 0xff}, bytes.Repeat([]byte("k"), 65535)...), key("", ""), key("\x00", "\x00")}
	for i, k := range keys {
		apply(t, s, s.AppliedDecree()+1, batch(k, []byte{byte(i)}))
	}
	for range 2 {
		for i, k := range keys {
			wantGet(t, s, k, string([]byte{byte(i)}))
		}
		if got := scan(t, s, engine.IterOptions{Tier: engine.TierAll}, 3); len(got) != len(keys) {
			t.Fatalf("%d rows, want %d", len(got), len(keys))
		}
		if got := scan(t, s, engine.IterOptions{Lower: key("", ""), Upper: []byte{0xff}, Tier: engine.TierAll}, 3); len(got) != 3 {
			t.Fatalf("%d rows of regular keys, want 3: %q", len(got), got)
		}
		if err := s.Compact(engine.CompactOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// farAway is an expiry that no test lives to see: the largest.
const farAway = 1<<32 - 1

func testFilter(t *testing.T, open Opener) {
	s := fresh(t, open)
	put := func(k []byte, expire uint32) {
		var b engine.BatchBuilder
		b.Put(k, expire, 42, []byte("user"))
		apply(t, s, s.AppliedDecree()+1, b.Bytes())
	}
	expireOf := func(k []byte) (uint32, bool) {
		var b engine.GetBatch
		b.Add(k)
		s.MultiGet(&b, engine.TierAll)
		if b.Outcome(0) != engine.Found {
			return 0, false
		}
		v, err := engine.ParseValue(s.DataVersion(), b.Value(0))
		if err != nil || string(v.User) != "user" || v.Timetag != 42 {
			t.Fatalf("%q holds %q: %v", k, b.Value(0), err)
		}
		return v.Expire, true
	}
	old, eternal, long, short := key("h", "old"), key("h", "eternal"), key("h", "long"), []byte{7}
	put(old, 1)
	put(eternal, 0)
	put(long, farAway)
	put(short, 1)
	if err := s.Compact(engine.CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, ok := expireOf(old); ok {
		t.Fatal("an expired record survived")
	}
	if _, ok := expireOf(short); !ok {
		t.Fatal("a key that is none of ours was dropped")
	}
	if e, ok := expireOf(eternal); !ok || e != 0 {
		t.Fatal("a record without expiry changed", e, ok)
	}

	const ttl = 100000
	s.SetTableOptions(engine.TableOptions{DefaultTTL: ttl, PartitionVersion: -1})
	before := uint32(time.Now().Unix() - engine.EpochOffset)
	if err := s.Compact(engine.CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	after := uint32(time.Now().Unix() - engine.EpochOffset)
	if e, ok := expireOf(eternal); !ok || e < before+ttl || e > after+ttl {
		t.Fatalf("default TTL gave expiry %d, found %v; want %d..%d", e, ok, before+ttl, after+ttl)
	}
	if e, ok := expireOf(long); !ok || e != farAway {
		t.Fatal("a record with an expiry changed", e, ok)
	}

	// A split gives away what hashes to other partitions.
	const version = 3
	var mine, all int
	for i := range 40 {
		for _, k := range [][]byte{key(fmt.Sprint("hash", i), "s"), key("", fmt.Sprint("sort", i))} {
			put(k, farAway)
			all++
		}
	}
	for _, o := range []engine.TableOptions{
		{PartitionVersion: -1, PartitionIndex: 2},
		{PartitionVersion: 1, PartitionIndex: 2}, // the parent has not learnt of its new version: nothing is stale
	} {
		s.SetTableOptions(o)
		if err := s.Compact(engine.CompactOptions{}); err != nil {
			t.Fatal(err)
		}
		for i := range 40 {
			if _, ok := expireOf(key(fmt.Sprint("hash", i), "s")); !ok {
				t.Fatalf("%+v dropped a record", o)
			}
		}
	}
	s.SetTableOptions(engine.TableOptions{PartitionVersion: version, PartitionIndex: 2})
	if err := s.Compact(engine.CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		for _, k := range [][]byte{key(fmt.Sprint("hash", i), "s"), key("", fmt.Sprint("sort", i))} {
			hash, _ := engine.KeyHash(k)
			_, ok := expireOf(k)
			if want := hash&version == 2; ok != want {
				t.Fatalf("key %q with hash %x: found %v", k, hash, ok)
			}
			if ok {
				mine++
			}
		}
	}
	if mine == 0 || mine == all {
		t.Fatalf("%d of %d records stay: the keys prove nothing", mine, all)
	}
}

func testClosed(t *testing.T, open Opener) {
	dir := t.TempDir()
	s := open(t, dir)
	apply(t, s, 1, batch(key("h", "a"), nil))
	closeStore(t, s)
	closeStore(t, s) // allowed
	var b engine.GetBatch
	b.Add(key("h", "a"))
	s.MultiGet(&b, engine.TierCache)
	if b.Outcome(0) != engine.Failed || !errors.Is(b.Err(0), engine.ErrClosed) {
		t.Fatalf("get: %d, %v", b.Outcome(0), b.Err(0))
	}
	_, flush := s.Flush()
	_, checkpoint := s.Checkpoint(dir+"/cp", false)
	_, iterate := s.NewIterator(engine.IterOptions{})
	for name, err := range map[string]error{
		"apply": s.Apply(2), "flush": flush, "checkpoint": checkpoint, "iterator": iterate, "compact": s.Compact(engine.CompactOptions{}),
		"tune": s.Tune(engine.Tuning{}),
	} {
		if !errors.Is(err, engine.ErrClosed) {
			t.Errorf("%s of a closed store: %v", name, err)
		}
	}
	s.Stats()
	s.Stalled()
	s.Steady(true)
	s.SetTableOptions(engine.TableOptions{})
}
