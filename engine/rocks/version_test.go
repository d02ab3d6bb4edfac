package rocks

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/linxGnu/grocksdb"

	"pegasus/engine"
)

func newShared(t *testing.T) *Shared {
	t.Helper()
	sh, err := NewShared(SharedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sh.Close)
	return sh
}

// TestForeignContent opens stores that someone else could have written.
func TestForeignContent(t *testing.T) {
	sh := newShared(t)
	for _, c := range []struct {
		key, value string
		want       error
	}{
		{keyDataVersion, "9", engine.ErrNotStore},
		{keyDataVersion, "4294967297", engine.ErrNotStore}, // 1 when cut to 32 bits
		{keyDataVersion, "one", engine.ErrCorruption},
		{keyDataVersion, "", engine.ErrCorruption},
		{keyFlushedDecree, "-1", engine.ErrCorruption},
		{keyFlushedDecree, "12a", engine.ErrCorruption},
		{keyFlushedDecree, "99999999999999999999", engine.ErrCorruption},
		{keyFlushedDecree, string(make([]byte, 1000)), engine.ErrCorruption},
	} {
		dir := filepath.Join(t.TempDir(), "store")
		s, err := Open(dir, Options{Shared: sh})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.metaPut(c.key, c.value), s.flush(), s.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Options{Shared: sh}); !errors.Is(err, c.want) {
			t.Errorf("%s is %.30q: %v, want %v", c.key, c.value, err, c.want)
		}
	}

	plain := filepath.Join(t.TempDir(), "plain")
	o := grocksdb.NewDefaultOptions()
	defer o.Destroy()
	o.SetCreateIfMissing(true)
	db, err := grocksdb.OpenDb(o, plain)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := Open(plain, Options{Shared: sh}); !errors.Is(err, engine.ErrNotStore) {
		t.Errorf("a database that is none of ours: %v", err)
	}
}

// TestOlderLayouts reads a store of another value layout, lets the filter run over it and cannot write to it.
func TestOlderLayouts(t *testing.T) {
	sh := newShared(t)
	for version, header := range map[engine.DataVersion][2]string{
		engine.DataV0: {"\x00\x00\x00\x01", "\x00\x00\x00\x00"},
		engine.DataV2: {"\x82\x00\x00\x00\x01" + "TIMETAG.", "\x82\x00\x00\x00\x00" + "TIMETAG."},
	} {
		dir := filepath.Join(t.TempDir(), "store")
		s, err := Open(dir, Options{Shared: sh})
		if err != nil {
			t.Fatal(err)
		}
		// Batches carry whole values, so these pass for ones of layout v1.
		var batch []byte
		batch = append(batch, 3, 0, 0, 0)
		for i, value := range []string{header[0] + "gone", header[1] + "stays", header[1][:3]} {
			batch = append(batch, 1, 3, 0, 0, byte('a'+i), byte(len(value)))
			batch = append(batch, value...)
		}
		if err := errors.Join(s.Apply(7, batch), s.metaPut(keyDataVersion, string('0'+rune(version))), s.flush(), s.Close()); err != nil {
			t.Fatal(err)
		}
		const ttl = 1 << 30
		if s, err = Open(dir, Options{Shared: sh, Table: engine.TableOptions{DefaultTTL: ttl}}); err != nil {
			t.Fatal(err)
		}
		if s.DataVersion() != version || s.AppliedDecree() != 7 {
			t.Fatalf("layout %d at decree %d, want %d at 7", s.DataVersion(), s.AppliedDecree(), version)
		}
		if err := s.Apply(8); !errors.Is(err, engine.ErrReadOnly) {
			t.Errorf("layout %d was written: %v", version, err)
		}
		if err := s.Compact(engine.CompactOptions{}); err != nil {
			t.Fatal(err)
		}
		var g engine.GetBatch
		for _, sort := range []string{"a", "b", "c"} {
			g.Add(engine.AppendKey(nil, nil, []byte(sort)))
		}
		s.MultiGet(&g, engine.TierAll)
		v, err := engine.ParseValue(version, g.Value(1))
		if g.Outcome(0) != engine.NotFound || err != nil || v.Expire <= ttl || !bytes.Equal(v.User, []byte("stays")) {
			t.Errorf("layout %d after the filter: outcome %d, %+v, %v", version, g.Outcome(0), v, err)
		}
		// Too short to be a value: kept as it is.
		if g.Outcome(2) != engine.Found || string(g.Value(2)) != header[1][:3] {
			t.Errorf("layout %d: short value is %q, outcome %d", version, g.Value(2), g.Outcome(2))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
