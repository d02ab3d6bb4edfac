package transfer

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"pegasus/netcore/proto"
)

// Manifest is what a transfer brings. Files are in ascending order of their names.
type Manifest struct {
	ID     uint64
	GPID   proto.GPID
	Decree proto.Decree
	Files  []FileInfo
}

// FileInfo is one file of a Manifest: the crc32c of the whole and of each BlockSize bytes.
type FileInfo struct {
	Name   string
	Size   int64
	Sum    uint32
	Blocks []uint32
}

// Bytes is the sum of the file sizes.
func (m *Manifest) Bytes() int64 {
	var sum int64
	for i := range m.Files {
		sum += m.Files[i].Size
	}
	return sum
}

// blockLen is the length of block b in bytes.
func (f *FileInfo) blockLen(b int) int { return int(min(BlockSize, f.Size-int64(b)*BlockSize)) }

// find returns the file of the given name, or nil.
func (m *Manifest) find(name string) *FileInfo {
	i, ok := slices.BinarySearchFunc(m.Files, name, func(f FileInfo, name string) int { return strings.Compare(f.Name, name) })
	if !ok {
		return nil
	}
	return &m.Files[i]
}

func blocksIn(size int64) int64 { return (size + BlockSize - 1) / BlockSize }

// The encoding of a manifest, little endian. The version stands here and not only in the frame since a journal keeps it too.
//
//	 0  1  version, then 3 zero bytes
//	 4  4  BlockSize
//	 8  8  transfer id
//	16  8  app id, partition index
//	24  8  decree
//	32  4  number of files, then per file:
//	    1  length of the name, the name
//	    8  size
//	    4  crc32c of the file
//	    -  crc32c of each block, 4 bytes each
const (
	manifestVersion = 1
	manifestHead    = 36
	manifestFileMin = 1 + 1 + 8 + 4
	// maxManifest is what MaxFiles files with the longest names and MaxBytes bytes need.
	maxManifest = manifestHead + MaxFiles*(manifestFileMin+MaxName+4) + MaxBytes/BlockSize*4
)

func (m *Manifest) encode() []byte {
	b := []byte{manifestVersion, 0, 0, 0}
	b = binary.LittleEndian.AppendUint32(b, BlockSize)
	b = binary.LittleEndian.AppendUint64(b, m.ID)
	b = binary.LittleEndian.AppendUint32(b, uint32(m.GPID.App))
	b = binary.LittleEndian.AppendUint32(b, uint32(m.GPID.Part))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.Decree))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m.Files)))
	for i := range m.Files {
		f := &m.Files[i]
		b = append(append(b, byte(len(f.Name))), f.Name...)
		b = binary.LittleEndian.AppendUint64(b, uint64(f.Size))
		b = binary.LittleEndian.AppendUint32(b, f.Sum)
		for _, s := range f.Blocks {
			b = binary.LittleEndian.AppendUint32(b, s)
		}
	}
	return b
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrManifest, fmt.Sprintf(format, args...))
}

// decodeManifest takes nothing on trust: what it returns keeps every bound of this package, and it allocates in proportion
// to the length of b whatever b says.
func decodeManifest(b []byte) (*Manifest, error) {
	if len(b) < manifestHead {
		return nil, refused("%d bytes", len(b))
	}
	if b[0] != manifestVersion {
		return nil, fmt.Errorf("%w: manifest version %d", ErrVersion, b[0])
	}
	if size := binary.LittleEndian.Uint32(b[4:]); size != BlockSize || b[1]|b[2]|b[3] != 0 {
		return nil, refused("blocks of %d bytes", size)
	}
	m := &Manifest{
		ID:     binary.LittleEndian.Uint64(b[8:]),
		GPID:   proto.GPID{App: int32(binary.LittleEndian.Uint32(b[16:])), Part: int32(binary.LittleEndian.Uint32(b[20:]))},
		Decree: proto.Decree(binary.LittleEndian.Uint64(b[24:])),
	}
	files := binary.LittleEndian.Uint32(b[32:])
	b = b[manifestHead:]
	if files > MaxFiles || int(files) > len(b)/manifestFileMin {
		return nil, refused("%d files in %d bytes", files, len(b))
	}
	m.Files = make([]FileInfo, files)
	for i := range m.Files {
		var err error
		if b, err = m.Files[i].decode(b); err != nil {
			return nil, err
		}
	}
	if len(b) != 0 {
		return nil, refused("%d bytes after the last file", len(b))
	}
	return m, m.check()
}

// decode reads one file from the beginning of b and returns what follows.
func (f *FileInfo) decode(b []byte) ([]byte, error) {
	if len(b) < 1 || len(b) < 1+int(b[0])+12 {
		return nil, refused("a file is cut off")
	}
	f.Name, b = string(b[1:1+b[0]]), b[1+b[0]:]
	f.Size, f.Sum = int64(binary.LittleEndian.Uint64(b)), binary.LittleEndian.Uint32(b[8:])
	b = b[12:]
	if f.Size < 0 || f.Size > MaxBytes || blocksIn(f.Size) > int64(len(b)/4) {
		return nil, refused("%q of %d bytes, %d bytes of sums follow", f.Name, f.Size, len(b))
	}
	if f.Size > 0 {
		f.Blocks = make([]uint32, blocksIn(f.Size))
	}
	for i := range f.Blocks {
		f.Blocks[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return b[4*len(f.Blocks):], nil
}

// check holds a manifest to the bounds of this package.
func (m *Manifest) check() error {
	if m.GPID.App <= 0 || m.GPID.Part < 0 || m.Decree < 0 {
		return refused("partition %v, decree %d", m.GPID, m.Decree)
	}
	if len(m.Files) > MaxFiles {
		return refused("%d files", len(m.Files))
	}
	var total int64
	for i := range m.Files {
		f := &m.Files[i]
		if err := checkName(f.Name); err != nil {
			return err
		}
		if i > 0 && m.Files[i-1].Name >= f.Name {
			return refused("%q follows %q", f.Name, m.Files[i-1].Name)
		}
		if f.Size < 0 || f.Size > MaxBytes-total {
			return refused("%q makes it more than %d bytes", f.Name, int64(MaxBytes))
		}
		total += f.Size
		if f.Sum != wholeSum(f.Size, f.Blocks) {
			return refused("the sums of %q do not fit together", f.Name)
		}
	}
	return nil
}

// checkName permits plain names of one directory in an alphabet that is a name and nothing else everywhere.
func checkName(name string) error {
	if name == "" || len(name) > MaxName || name[0] == '.' || name == journalName || name == journalName+".tmp" {
		return refused("file name %.130q", name)
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		default:
			return refused("file name %q", name)
		}
	}
	return nil
}
