package transfer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"hash/crc32"
	"os"
	"path"
	"reflect"
	"strings"
	"testing"

	"pegasus/netcore/disk"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares bytes with a file of hex digits. The files may change only with a version.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = path.Join("testdata", name)
	if *update {
		var text strings.Builder
		for p := got; len(p) > 0; p = p[min(len(p), 16):] {
			text.WriteString(hex.EncodeToString(p[:min(len(p), 16)]) + "\n")
		}
		must(t, os.WriteFile(name, []byte(text.String()), 0o644))
	}
	text, err := os.ReadFile(name)
	must(t, err)
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: got\n%x, want\n%x", name, got, want)
	}
}

func goldenManifest() *Manifest {
	m := &Manifest{ID: testID, GPID: testGPID, Decree: 0x0102030405}
	for _, f := range []struct {
		name    string
		content []byte
	}{{"000012.sst", bytes.Repeat([]byte("pegasus!"), BlockSize/8+1)}, {"CURRENT", []byte("MANIFEST-000005\n")}, {"LOG", nil}} {
		info := FileInfo{Name: f.name, Size: int64(len(f.content)), Sum: sumOf(f.content)}
		for p := f.content; len(p) > 0; p = p[min(len(p), BlockSize):] {
			info.Blocks = append(info.Blocks, sumOf(p[:min(len(p), BlockSize)]))
		}
		m.Files = append(m.Files, info)
	}
	return m
}

func TestGoldenManifest(t *testing.T) {
	m := goldenManifest()
	golden(t, "manifest_v1.hex", m.encode())
	got, err := decodeManifest(m.encode())
	must(t, err)
	if !reflect.DeepEqual(got, m) {
		t.Fatalf("%+v, want %+v", got, m)
	}
}

func TestGoldenFrames(t *testing.T) {
	var all []byte
	for _, h := range []header{
		{kind: kindOpen, length: 16, sum: 0xa1a2a3a4, id: testID},
		{kind: kindManifest, length: 1 << 24, sum: 0xffffffff, id: testID},
		{kind: kindGet, id: testID, file: 0xfffe, offset: 5 * BlockSize},
		{kind: kindBlock, length: BlockSize, sum: 1, id: testID, file: 0xfffe, offset: 5 * BlockSize},
		{kind: kindDone, id: testID},
		{kind: kindAlive},
		{kind: kindError, code: codeSource, length: 5, sum: 2, id: testID},
	} {
		b := bytes.Repeat([]byte{0xee}, headerLen)
		h.put(b)
		all = append(all, b...)
		var got header
		must(t, got.parse(b))
		if got != h {
			t.Fatalf("%+v, want %+v", got, h)
		}
		for bit := range 8 * headerLen {
			b[bit/8] ^= 1 << (bit % 8)
			if err := got.parse(b); !errors.Is(err, errDamaged) {
				t.Fatalf("bit %d: %v", bit, err)
			}
			b[bit/8] ^= 1 << (bit % 8)
		}
	}
	golden(t, "frames_v1.hex", all)
}

func TestGoldenJournal(t *testing.T) {
	m := goldenManifest()
	fsys := disk.NewMem(1)
	files := make([]stagedFile, len(m.Files))
	for i := range m.Files {
		files[i] = stagedFile{info: &m.Files[i], have: newBitset(len(m.Files[i].Blocks))}
	}
	files[0].have.set(1)
	j, err := newJournal(fsys, "/", m.encode(), files)
	must(t, err)
	must(t, j.add(1, 0), j.f.Close())
	content, err := disk.ReadFile(fsys, "/"+journalName)
	must(t, err)
	golden(t, "journal_v1.hex", content)

	read := func(content []byte) map[string]bitset {
		must(t, disk.WriteFile(fsys, "/"+journalName, content))
		hints, exists := readJournal(fsys, "/")
		if !exists {
			t.Fatal("no journal")
		}
		return hints
	}
	has := func(hints map[string]bitset) [3]bool {
		return [3]bool{hints["000012.sst"].has(0), hints["000012.sst"].has(1), hints["CURRENT"].has(0)}
	}
	if got := has(read(content)); got != [3]bool{false, true, true} {
		t.Fatal(got)
	}
	for n := range content {
		hints := read(content[:n])
		head := len(content) - 2*journalRecord
		if (hints == nil) != (n < head) || has(hints) != [3]bool{false, n >= head+journalRecord, false} {
			t.Fatalf("cut at %d: %v", n, hints)
		}
	}
	for bit := range 8 * len(content) {
		bad := bytes.Clone(content)
		bad[bit/8] ^= 1 << (bit % 8)
		if got := has(read(bad)); got[0] {
			t.Fatalf("bit %d: a block that was never written", bit)
		}
	}
	if _, exists := readJournal(disk.NewMem(1), "/"); exists {
		t.Fatal("a journal out of nothing")
	}
}

func TestWholeSum(t *testing.T) {
	content := randomTree(1, 3*BlockSize+12345)["000001.sst"]
	for _, size := range []int{0, 1, 7, BlockSize - 1, BlockSize, BlockSize + 1, 2 * BlockSize, len(content)} {
		var blocks []uint32
		for p := content[:size]; len(p) > 0; p = p[min(len(p), BlockSize):] {
			blocks = append(blocks, sumOf(p[:min(len(p), BlockSize)]))
		}
		if got, want := wholeSum(int64(size), blocks), crc32.Checksum(content[:size], castagnoli); got != want {
			t.Errorf("%d bytes: %08x, want %08x", size, got, want)
		}
	}
}

// A manifest from a server that means harm, or is broken.
func TestManifestRefused(t *testing.T) {
	one := func(name string) func(m *Manifest) {
		return func(m *Manifest) { m.Files = []FileInfo{{Name: name}} }
	}
	cases := map[string]func(m *Manifest){
		"empty name": one(""), "dot": one("."), "parent": one(".."), "up": one("../x"), "absolute": one("/etc/passwd"), "path": one("a/b"),
		"backslash": one(`a\b`), "nul": one("a\x00b"), "newline": one("a\nb"), "hidden": one(".a"), "long": one(strings.Repeat("a", MaxName+1)),
		"journal": one(journalName), "journal.tmp": one(journalName + ".tmp"), "not ascii": one("ä"),
		"twice":     func(m *Manifest) { m.Files[1].Name = m.Files[0].Name },
		"unordered": func(m *Manifest) { m.Files[0].Name = "Z" },
		"whole sum": func(m *Manifest) { m.Files[0].Sum++ },
		"block sum": func(m *Manifest) { m.Files[0].Blocks[1]++ },
		"app":       func(m *Manifest) { m.GPID.App = 0 },
		"part":      func(m *Manifest) { m.GPID.Part = -1 },
		"decree":    func(m *Manifest) { m.Decree = -1 },
		"size":      func(m *Manifest) { m.Files[0].Size = -1 },
		"huge":      func(m *Manifest) { m.Files[0].Size = 1 << 62 },
		"longer":    func(m *Manifest) { m.Files[2].Size = BlockSize + 1 },
	}
	for name, change := range cases {
		m := goldenManifest()
		change(m)
		if got, err := decodeManifest(m.encode()); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	m := goldenManifest()
	m.Files = make([]FileInfo, MaxFiles+1)
	if err := m.check(); !errors.Is(err, ErrManifest) {
		t.Error(err)
	}
	m.Files = []FileInfo{{Name: "a", Size: MaxBytes - 1}, {Name: "b", Size: 2}}
	if err := m.check(); !errors.Is(err, ErrManifest) {
		t.Error(err)
	}
	good := goldenManifest().encode()
	for n := range good {
		if _, err := decodeManifest(good[:n]); !errors.Is(err, ErrManifest) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	if _, err := decodeManifest(append(good, 0)); !errors.Is(err, ErrManifest) {
		t.Error(err)
	}
	count := bytes.Clone(good)
	copy(count[32:], "\xff\xff\x00\x00")
	if n := testing.AllocsPerRun(10, func() { _, _ = decodeManifest(count) }); n > 10 {
		t.Errorf("%v allocations for a count that the bytes cannot hold", n)
	}
	count[0]++
	if _, err := decodeManifest(count); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(goldenManifest().encode())
	f.Add((&Manifest{GPID: testGPID}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeManifest(b)
		if err != nil {
			return
		}
		if !bytes.Equal(m.encode(), b) {
			t.Fatalf("%x reads as %+v", b, m)
		}
		for i := range m.Files {
			if n := m.Files[i].Name; path.Base(n) != n || path.Join("/d", n) != "/d/"+n {
				t.Fatalf("name %q", n)
			}
		}
	})
}
