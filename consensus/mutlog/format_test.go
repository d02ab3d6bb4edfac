package mutlog

import (
	"encoding/binary"
	"errors"
	"flag"
	"hash/crc32"
	"os"
	"slices"
	"testing"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

var update = flag.Bool("update", false, "write testdata of the current version")

// goldenRecords are what testdata/segment-v1.log holds.
func goldenRecords() []Record {
	return []Record{
		{GPID: proto.GPID{App: 2, Part: 7}, Ballot: 3, Decree: 1, Committed: 0, Timestamp: 1700000000000001, Payload: []byte("one")},
		{GPID: proto.GPID{App: 2, Part: 7}, Ballot: 3, Decree: 2, Committed: 1, Timestamp: 1700000000000002},
		{GPID: proto.GPID{App: 5, Part: 0}, Ballot: 1, Decree: 1, Committed: 0, Timestamp: -1, Payload: []byte{0, 255, 16, 32, 64, 1, 2, 3}},
		{GPID: proto.GPID{App: 2, Part: 7}, Ballot: 4, Decree: 2, Committed: 1, Timestamp: 1700000000000003, Payload: []byte("two again")},
	}
}

const goldenName = "0000000000000001.log"

// writeGolden makes the golden segment with the current writer: two writes, then a forgotten partition.
func writeGolden(t *testing.T) []byte {
	fsys := disk.NewMem(1)
	l, _, _ := mustOpen(t, fsys, "/log", small())
	rs := goldenRecords()
	mustAppend(t, l, Record{GPID: proto.GPID{App: 9, Part: 9}, Ballot: 1, Decree: 1, Timestamp: 1, Payload: []byte("gone")})
	mustAppend(t, l, rs[:2]...)
	mustDrain(t, l)
	mustAppend(t, l, rs[2:]...)
	l.Forget(proto.GPID{App: 9, Part: 9})
	mustDrain(t, l)
	b, err := disk.ReadFile(fsys, "/log/"+goldenName)
	if err != nil {
		t.Fatal(err)
	}
	return b[:l.active.end]
}

func golden(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/segment-v1.log")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWriterMakesTheGoldenBytes(t *testing.T) {
	b := writeGolden(t)
	if *update {
		if err := os.WriteFile("testdata/segment-v1.log", b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(b, golden(t)) {
		t.Fatal("the writer's bytes changed; a new format needs a new version and its own golden file")
	}
}

func logWith(t *testing.T, b []byte) *disk.Mem {
	t.Helper()
	fsys := disk.NewMem(1)
	if err := fsys.MkdirAll("/log"); err != nil {
		t.Fatal(err)
	}
	if err := disk.WriteFile(fsys, "/log/"+goldenName, b); err != nil {
		t.Fatal(err)
	}
	return fsys
}

func TestReaderReadsTheGoldenBytes(t *testing.T) {
	l, rep, got := mustOpen(t, logWith(t, golden(t)), "/log", small())
	wantSpoiled(t, rep)
	want := goldenRecords()
	for g, rs := range map[proto.GPID][]Record{{App: 2, Part: 7}: {want[0], want[3]}, {App: 5, Part: 0}: {want[2]}, {App: 9, Part: 9}: nil} {
		if !slices.EqualFunc(got[g], rs, sameRecord) {
			t.Errorf("%v: %+v, want %+v", g, got[g], rs)
		}
	}
	// An old log is continued, in new segments.
	mustAppend(t, l, rec(proto.GPID{App: 5, Part: 0}, 2, 1, 10))
	mustDrain(t, l)
}

func TestNewerVersionIsRefusedUntouched(t *testing.T) {
	le := binary.LittleEndian
	for name, change := range map[string]func(b []byte){
		"segment": func(b []byte) {
			le.PutUint32(b[8:], Version+1)
			le.PutUint32(b[24:], crc32.Checksum(b[:24], castagnoli))
		},
		"record version": func(b []byte) {
			r := b[segmentHeaderLen:]
			r[10] = Version + 1
			le.PutUint32(r, crc32.Checksum(r[4:recordHeaderLen], castagnoli))
		},
		"record type": func(b []byte) {
			r := b[segmentHeaderLen:]
			r[11] = 200
			le.PutUint32(r, crc32.Checksum(r[4:recordHeaderLen], castagnoli))
		},
	} {
		b := golden(t)
		change(b)
		fsys := logWith(t, b)
		if _, _, err := Open(fsys, "/log", small(), replayed{}.take); !errors.Is(err, ErrNewerFormat) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := disk.ReadFile(fsys, "/log/"+goldenName); err != nil || !slices.Equal(after, b) {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
}

func FuzzScan(f *testing.F) {
	if b, err := os.ReadFile("testdata/segment-v1.log"); err == nil {
		f.Add(b)
	}
	f.Add([]byte("PegasLog"))
	f.Fuzz(func(t *testing.T, b []byte) {
		end := int64(segmentHeaderLen)
		err := scanSegment(b, 1, func(it *item) error {
			if it.off != end || it.end <= it.off || it.end > int64(len(b)) {
				t.Fatalf("item [%d, %d) after %d of %d", it.off, it.end, end, len(b))
			}
			end = it.end
			if !it.damaged && it.header.typ == typeTable {
				_, _, err := parseTable(it.payload)
				return err
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrNewerFormat) {
			t.Fatal(err)
		}
	})
}
