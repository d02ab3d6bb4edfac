package transfer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"path"

	"pegasus/netcore/disk"
)

// The journal of a staging directory says which blocks were written, so that a restarted learner need not look at the rest.
// It is a hint and no more: it is not synced, and a block that it names is read and checksummed again before it counts.
// It also marks a directory as a staging directory. It is removed as the last step of a Fetch.
//
//	 0  4  magic "PGTJ"
//	 4  1  version, then 3 zero bytes
//	 8  4  length of the manifest
//	12  4  crc32c of the manifest
//	16  -  the manifest, then records of 12 bytes:
//	    4  index of the file
//	    4  index of the block
//	    4  crc32c of the 8 bytes before
const (
	journalName    = "TRANSFER"
	journalVersion = 1
	journalMagic   = "PGTJ"
	journalHead    = 16
	journalRecord  = 12
)

type journal struct {
	f   disk.File
	off int64
}

func appendJournalRecord(b []byte, file, block int) []byte {
	at := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(file))
	b = binary.LittleEndian.AppendUint32(b, uint32(block))
	return binary.LittleEndian.AppendUint32(b, sumOf(b[at:]))
}

// newJournal replaces the journal of dir, atomically: the old one is good until the new one is complete.
func newJournal(fs disk.FS, dir string, manifest []byte, files []stagedFile) (*journal, error) {
	b := append([]byte(journalMagic), journalVersion, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(manifest)))
	b = binary.LittleEndian.AppendUint32(b, sumOf(manifest))
	b = append(b, manifest...)
	for i := range files {
		for block := range files[i].blocks() {
			if files[i].have.has(block) {
				b = appendJournalRecord(b, i, block)
			}
		}
	}
	name := path.Join(dir, journalName)
	if err := disk.WriteFile(fs, name, b); err != nil {
		return nil, err
	}
	f, err := fs.OpenRW(name)
	if err != nil {
		return nil, err
	}
	return &journal{f: f, off: int64(len(b))}, nil
}

// add records a block.
func (j *journal) add(file, block int) error {
	var room [journalRecord]byte
	b := appendJournalRecord(room[:0], file, block)
	_, err := j.f.WriteAt(b, j.off)
	j.off += int64(len(b))
	return err
}

// readJournal returns the blocks that dir's journal names, by file name. exists is false when there is no journal; hints
// are nil when there is one that cannot be used. A damaged or torn end of the records is where they end.
func readJournal(fs disk.FS, dir string) (hints map[string]bitset, exists bool) {
	f, err := fs.Open(path.Join(dir, journalName))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, true
	}
	in := bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 64<<10)
	var head [journalHead]byte
	if _, err := io.ReadFull(in, head[:]); err != nil || !bytes.Equal(head[:8], []byte(journalMagic+"\x01\x00\x00\x00")) {
		return nil, true
	}
	n := int64(binary.LittleEndian.Uint32(head[8:]))
	if n > maxManifest || n > size {
		return nil, true
	}
	encoded := make([]byte, n)
	if _, err := io.ReadFull(in, encoded); err != nil || sumOf(encoded) != binary.LittleEndian.Uint32(head[12:]) {
		return nil, true
	}
	m, err := decodeManifest(encoded)
	if err != nil {
		return nil, true
	}
	return readRecords(in, m), true
}

func readRecords(in io.Reader, m *Manifest) map[string]bitset {
	hints := make(map[string]bitset, len(m.Files))
	for i := range m.Files {
		hints[m.Files[i].Name] = newBitset(len(m.Files[i].Blocks))
	}
	var rec [journalRecord]byte
	for {
		if _, err := io.ReadFull(in, rec[:]); err != nil || sumOf(rec[:8]) != binary.LittleEndian.Uint32(rec[8:]) {
			return hints
		}
		file, block := binary.LittleEndian.Uint32(rec[:]), binary.LittleEndian.Uint32(rec[4:])
		if int64(file) >= int64(len(m.Files)) || int64(block) >= int64(len(m.Files[file].Blocks)) {
			return hints
		}
		hints[m.Files[file].Name].set(int(block))
	}
}

// bitset is a set of block indexes of one file.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) has(i int) bool { return i/64 < len(b) && b[i/64]>>(i%64)&1 != 0 }

func (b bitset) set(i int) { b[i/64] |= 1 << (i % 64) }
