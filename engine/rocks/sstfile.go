package rocks

// #include "shim.h"
import "C"

import "unsafe"

// SSTFile is one file of a store, looked at without the store: it need not be part of one any more.
type SSTFile struct {
	c     *C.pg_sst
	key   []byte
	value []byte
}

// OpenSSTFile opens a file for reading. Errors match engine.ErrCorruption or engine.ErrIO.
func OpenSSTFile(path string) (*SSTFile, error) {
	var st C.pg_status
	c := C.pg_sst_open(text(path), C.size_t(len(path)), &st)
	if err := statusErr(&st); err != nil {
		return nil, err
	}
	return &SSTFile{c: c}, nil
}

// Verify reads every block and compares its checksum.
func (f *SSTFile) Verify() error {
	var st C.pg_status
	C.pg_sst_verify(f.c, &st)
	return statusErr(&st)
}

// maxProperties bounds the text of Properties.
const maxProperties = 64 << 10

// Properties is what the file says of itself, as RocksDB prints it: "name: value" a line.
func (f *SSTFile) Properties() (string, error) {
	var st C.pg_status
	buf := make([]byte, maxProperties)
	n := C.pg_sst_properties(f.c, chars(buf), C.size_t(len(buf)), &st)
	if err := statusErr(&st); err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// Family is the name of the column family that the file is of, and its number of entries, removals among them.
func (f *SSTFile) Family() (name string, entries uint64, err error) {
	var st C.pg_status
	var buf [256]byte
	var n C.uint64_t
	size := C.pg_sst_family(f.c, chars(buf[:]), C.size_t(len(buf)), &n, &st)
	return string(buf[:size]), uint64(n), statusErr(&st)
}

// Seek goes to the first record whose key is not below from. What was removed is left out, as are older versions.
func (f *SSTFile) Seek(from []byte) error {
	var st C.pg_status
	C.pg_sst_seek(f.c, chars(from), C.size_t(len(from)), &st)
	return statusErr(&st)
}

// Next moves to the next record; false at the end. Key and Value are valid until the next call.
func (f *SSTFile) Next() (bool, error) {
	var st C.pg_status
	var kv C.pg_sst_record
	more := C.pg_sst_next(f.c, &kv, &st)
	if err := statusErr(&st); err != nil || more == 0 {
		return false, err
	}
	f.key = C.GoBytes(unsafe.Pointer(kv.key), C.int(kv.key_len))
	f.value = C.GoBytes(unsafe.Pointer(kv.value), C.int(kv.value_len))
	return true, nil
}

// Key is the raw key of the record.
func (f *SSTFile) Key() []byte { return f.key }

// Value is the stored value of the record.
func (f *SSTFile) Value() []byte { return f.value }

// Close gives the file up.
func (f *SSTFile) Close() { C.pg_sst_free(f.c) }
