package rocks

// #cgo CXXFLAGS: -std=c++17 -Wall -Wextra
// #cgo noescape pg_multiget
// #cgo nocallback pg_multiget
// #cgo noescape pg_gather
// #cgo nocallback pg_gather
// #cgo noescape pg_apply
// #cgo nocallback pg_apply
// #cgo noescape pg_iter_new
// #cgo nocallback pg_iter_new
// #cgo noescape pg_iter_next
// #cgo nocallback pg_iter_next
// #cgo nocallback pg_iter_free
// #cgo nocallback pg_state_stalled
// #cgo nocallback pg_state_flushed
// #cgo nocallback pg_live_objects
// #include "shim.h"
import "C"

import (
	"bytes"
	"fmt"
	"strings"
	"unsafe"

	"github.com/linxGnu/grocksdb"

	"pegasus/engine"
)

// Codes and subcodes of rocksdb::Status that say more than "it failed".
const (
	codeCorruption   = 2
	codeNotSupported = 3
	codeInvalid      = 4
	codeIO           = 5
	codeIncomplete   = 7
	codeShutdown     = 8

	subcodeNoSpace          = 4
	subcodeManualCompaction = 11
)

// statusErr turns what the shim reported into one of the engine's errors, or nil.
func statusErr(st *C.pg_status) error {
	if st.code == 0 {
		return nil
	}
	// Not C.GoString, which would move every status to the heap.
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&st.msg[0])), len(st.msg))
	msg := string(raw[:max(0, bytes.IndexByte(raw, 0))])
	switch {
	case st.code == codeCorruption:
		return fmt.Errorf("%w: %s", engine.ErrCorruption, msg)
	case st.code == codeIO && st.subcode == subcodeNoSpace:
		return noSpace(msg)
	case st.code == codeShutdown, st.code == codeIncomplete && st.subcode == subcodeManualCompaction:
		return fmt.Errorf("%w: %s", engine.ErrClosed, msg)
	}
	return fmt.Errorf("%w: %s", engine.ErrIO, msg)
}

func noSpace(msg string) error { return fmt.Errorf("%w: %w: %s", engine.ErrIO, engine.ErrNoSpace, msg) }

// openError classifies an error of grocksdb, which keeps only the text of a status: its code is the prefix.
func openError(dir string, err error) error {
	msg := err.Error()
	switch {
	case strings.HasPrefix(msg, "Corruption"):
		return fmt.Errorf("%w: %s: %s", engine.ErrCorruption, dir, msg)
	case strings.HasPrefix(msg, "IO error: No space"), strings.Contains(msg, "No space left on device"):
		return noSpace(dir + ": " + msg)
	case strings.HasPrefix(msg, "Invalid argument"), strings.HasPrefix(msg, "Not implemented"):
		return fmt.Errorf("%w: %s: %s", engine.ErrNotStore, dir, msg)
	}
	return fmt.Errorf("%w: %s: %s", engine.ErrIO, dir, msg)
}

// handle returns the C handle inside an object of grocksdb, which keeps it as its first field and has no accessor.
// Package tests open real stores through it, so a layout that changes is noticed.
func handle[T grocksdb.Options | grocksdb.DB | grocksdb.ColumnFamilyHandle](o *T) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(o))
}

// chars returns the address of b's bytes for the shim, nil when there are none.
func chars(b []byte) *C.char {
	return (*C.char)(unsafe.Pointer(unsafe.SliceData(b)))
}

// text is chars for a string that the shim only reads.
func text(s string) *C.char {
	return (*C.char)(unsafe.Pointer(unsafe.StringData(s)))
}

func flag(on bool, bit C.int) C.int {
	if on {
		return bit
	}
	return 0
}

// LiveObjects is the number of C++ objects that were created through the shim and not freed. For leak checks.
func LiveObjects() int64 { return int64(C.pg_live_objects()) }

// libraryAssertions tells whether the linked RocksDB was compiled with assertions: it is what its own default of the
// log level depends on, and that default is set inside the library.
func libraryAssertions() bool {
	o := grocksdb.NewDefaultOptions()
	defer o.Destroy()
	return o.GetInfoLogLevel() == grocksdb.DebugInfoLogLevel
}

func shimAssertions() bool { return C.pg_shim_assertions() != 0 }

// BuildProfile tells how this program was linked, for logs and for every quoted measurement.
func BuildProfile() string {
	return fmt.Sprintf("%s, rocksdb assertions %s", profile, map[bool]string{true: "on", false: "off"}[libraryAssertions()])
}
