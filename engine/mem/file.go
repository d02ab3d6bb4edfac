package mem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// A store on disk is one file: magic, u64 decree, u64 rows, per row u32 key length, u32 value length, key, value; then
// the crc32c of all that. Integers are little endian. It is written to a temporary name and renamed.
const (
	fileName = "store.mem"
	magic    = "PGMEM001"
	fixedLen = len(magic) + 16
	crcLen   = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Open opens the store in dir, a directory that a Flush or a Checkpoint left behind, or creates an empty one. Each
// Flush writes all of it.
func Open(dir string, o Options) (*Store, error) {
	s := New(o)
	s.dir = dir
	st, err := load(dir)
	if errors.Is(err, fs.ErrNotExist) {
		entries, _ := os.ReadDir(dir)
		if len(entries) > 0 {
			return nil, fmt.Errorf("%w: %s", engine.ErrNotStore, dir)
		}
		st, err = s.now.Load(), os.MkdirAll(dir, 0o755)
		if err == nil {
			err = save(dir, st)
		}
	}
	if err != nil {
		return nil, err
	}
	s.now.Store(st)
	s.flushed.Store(st)
	return s, nil
}

// create writes st into a directory that must not exist.
func create(dir string, st *state) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrIO, err)
	}
	return save(dir, st)
}

func save(dir string, st *state) error {
	b := append([]byte(nil), magic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(st.decree))
	b = binary.LittleEndian.AppendUint64(b, uint64(st.rows))
	st.root.walk(func(n *node) bool {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(n.key)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(n.value)))
		b = append(append(b, n.key...), n.value...)
		return true
	})
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	path := filepath.Join(dir, fileName)
	if err := os.WriteFile(path+".tmp", b, 0o644); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrIO, err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrIO, err)
	}
	return nil
}

func load(dir string) (*state, error) {
	b, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrIO, err)
	}
	corrupt := fmt.Errorf("%w: %s", engine.ErrCorruption, dir)
	if len(b) < fixedLen+crcLen || string(b[:len(magic)]) != magic {
		return nil, corrupt
	}
	body, sum := b[:len(b)-crcLen], binary.LittleEndian.Uint32(b[len(b)-crcLen:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, corrupt
	}
	st := &state{decree: proto.Decree(binary.LittleEndian.Uint64(b[len(magic):]))}
	rows := binary.LittleEndian.Uint64(b[len(magic)+8:])
	for body = body[fixedLen:]; rows > 0; rows-- {
		if len(body) < 8 {
			return nil, corrupt
		}
		kl, vl := uint64(binary.LittleEndian.Uint32(body)), uint64(binary.LittleEndian.Uint32(body[4:]))
		if body = body[8:]; uint64(len(body)) < kl+vl {
			return nil, corrupt
		}
		st.insert(body[:kl:kl], body[kl:kl+vl:kl+vl])
		body = body[kl+vl:]
	}
	return st, nil
}
