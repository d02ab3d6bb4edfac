package engine

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

// TestBatchGolden freezes the bytes: they are on disk and on the wire.
func TestBatchGolden(t *testing.T) {
	var b BatchBuilder
	if b.Bytes() != nil || b.Count() != 0 {
		t.Fatal("an empty builder is not empty")
	}
	b.Put([]byte("k1"), 0x01020304, 0x05060708090a0b0c, []byte("v"))
	mark, count := b.Len(), b.Count()
	b.Delete([]byte("k2"))
	const want = "02000000" + "01" + "02" + "6b31" + "0d" + "01020304" + "05060708090a0b0c" + "76" + "00" + "02" + "6b32"
	if got := hex.EncodeToString(b.Bytes()); got != want {
		t.Fatalf("batch %s, want %s", got, want)
	}
	b.Truncate(mark, count)
	if n, err := CheckBatch(b.Bytes()); n != 1 || err != nil || b.Count() != 1 {
		t.Fatalf("truncated batch has %d records, %v", n, err)
	}
	b.Truncate(0, 0)
	if b.Bytes() != nil {
		t.Fatal("truncated to nothing and not empty")
	}
}

func TestBatchRead(t *testing.T) {
	var b BatchBuilder
	big := bytes.Repeat([]byte("x"), 300) // a length of two bytes
	b.Put(big, 7, 8, big)
	b.Delete(nil)
	b.Put(nil, 0, 0, nil)
	r := ReadBatch(b.Bytes())
	var got []Record
	for r.Next() {
		got = append(got, r.Record())
	}
	if r.Err() != nil || len(got) != 3 {
		t.Fatalf("%d records, %v", len(got), r.Err())
	}
	v, err := ParseValue(DataV1, got[0].Value)
	if err != nil || !bytes.Equal(got[0].Key, big) || v.Expire != 7 || v.Timetag != 8 || !bytes.Equal(v.User, big) {
		t.Fatalf("first record %+v", got[0])
	}
	if !got[1].Delete || len(got[1].Key) != 0 || got[1].Value != nil || got[2].Delete || len(got[2].Value) != ValueHeaderLen {
		t.Fatalf("records %+v", got[1:])
	}
}

func TestBatchDamage(t *testing.T) {
	var b BatchBuilder
	b.Put([]byte("key"), 0, 0, []byte("value"))
	b.Delete([]byte("other"))
	good := b.Bytes()
	for n := 1; n < len(good); n++ {
		if _, err := CheckBatch(good[:n]); !errors.Is(err, ErrBadBatch) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	for _, bad := range []string{
		"\x01\x00\x00\x00\x02\x01k\x01v",                    // a tag that is not ours
		"\x01\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\x01k", // a length of six bytes
		"\x00\x00\x00\x00x",
		"\xff\xff\xff\xff",
	} {
		if _, err := CheckBatch([]byte(bad)); !errors.Is(err, ErrBadBatch) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if n, err := CheckBatch(nil); n != 0 || err != nil {
		t.Errorf("the empty batch: %d, %v", n, err)
	}
}

func FuzzReadBatch(f *testing.F) {
	var b BatchBuilder
	b.Put([]byte("key"), 1, 2, []byte("value"))
	b.Delete([]byte("key"))
	f.Add(b.Bytes())
	f.Add([]byte{1, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, batch []byte) {
		r := ReadBatch(batch)
		count := r.Count()
		var again BatchBuilder
		n := uint32(0)
		rebuilt := true
		for r.Next() {
			n++
			rec := r.Record()
			v, err := ParseValue(DataV1, rec.Value)
			switch {
			case rec.Delete:
				again.Delete(rec.Key)
			case err == nil:
				again.Put(rec.Key, v.Expire, v.Timetag, v.User)
			default:
				rebuilt = false
			}
		}
		if r.Err() != nil {
			return
		}
		if n != count {
			t.Fatalf("%d records of %d", n, count)
		}
		// Varints have longer forms, so only a length that is the same proves that the bytes must be.
		if rebuilt && len(again.Bytes()) == len(batch) && !bytes.Equal(again.Bytes(), batch) {
			t.Fatalf("%x became %x", batch, again.Bytes())
		}
	})
}

func TestArenaAllocs(t *testing.T) {
	value := bytes.Repeat([]byte("v"), 300)
	key := AppendKey(nil, value, value)
	var b BatchBuilder
	var g GetBatch
	var rows Rows
	work := func() {
		b.Reset()
		g.Reset()
		rows.Reset()
		for i := range 20 {
			key = AppendKey(key[:0], value, value)
			b.Put(key, 1, 2, value)
			b.Delete(key)
			g.Add(key)
			g.SetFound(i, value)
			rows.Append(key, value)
		}
		r := ReadBatch(b.Bytes())
		for r.Next() {
			if rec := r.Record(); !rec.Delete {
				if _, err := ParseValue(DataV1, rec.Value); err != nil {
					t.Fatal(err)
				}
			}
		}
		rows.Each(func(k, v []byte) bool { return len(v) > 0 })
	}
	work()
	if n := testing.AllocsPerRun(100, work); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if rows.Len() != 20 || rows.Bytes() != 20*(len(key)+len(value)) || !bytes.Equal(g.Value(19), value) {
		t.Errorf("%d rows, %d bytes, value %q", rows.Len(), rows.Bytes(), g.Value(19))
	}
}

func TestGetBatchErrors(t *testing.T) {
	var g GetBatch
	for range 2 {
		g.Reset()
		g.Add([]byte("a"))
		g.Add([]byte("b"))
		if g.Outcome(1) != NotFound || g.Err(1) != nil || g.Len() != 2 || string(g.Key(1)) != "b" {
			t.Fatal("a new batch is not new")
		}
		g.SetOutcome(1, Failed, ErrIO)
		if g.Err(0) != nil || !errors.Is(g.Err(1), ErrIO) || g.Outcome(1) != Failed || len(g.Value(1)) != 0 {
			t.Fatal("error is lost", g.Err(1))
		}
	}
}
