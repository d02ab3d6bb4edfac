package rocks

// #include "shim.h"
import "C"

import (
	"fmt"
	"path/filepath"

	"github.com/linxGnu/grocksdb"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// ReadOnly is a store that is looked at and not changed: by the offline tools, and to learn the decree of a checkpoint. It
// shows the files as they were when it was opened; what a server that has the store open writes meanwhile it does not see.
type ReadOnly struct {
	s      *Store // without a gate: nobody else has it
	decree proto.Decree
}

// OpenReadOnly opens the store in dir, leaves nothing behind in it, and keeps at most maxFiles of its files open (at least 16).
// Errors are those of Open.
func OpenReadOnly(dir string, o Options, maxFiles int) (*ReadOnly, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return openReadOnly(dir, o.withDefaults(), max(maxFiles, 16))
}

func openReadOnly(dir string, o Options, maxFiles int) (*ReadOnly, error) {
	if err := checkFamilies(dir); err != nil {
		return nil, err
	}
	var st C.pg_status
	state := C.pg_state_new(C.uint32_t(engine.DataV1), &st)
	if err := statusErr(&st); err != nil {
		return nil, err
	}
	o.Levels = levelsOf(dir)
	opts := o.build(state, true)
	opts.db.SetMaxOpenFiles(maxFiles)
	db, cfs, err := grocksdb.OpenDbForReadOnlyColumnFamilies(opts.db, dir,
		[]string{DataFamily, metaCF}, []*grocksdb.Options{opts.data, opts.meta}, false)
	if err != nil {
		opts.destroy()
		C.pg_state_free(state)
		return nil, openError(dir, err)
	}
	r := &ReadOnly{s: &Store{dir: dir, o: o, opts: opts, state: state, db: db, data: cfs[0], meta: cfs[1], gate: newGate()}}
	r.s.c = C.pg_store_new(handle(db), handle(cfs[0]), handle(cfs[1]), state, &st)
	if err = statusErr(&st); err == nil {
		err = r.load()
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (r *ReadOnly) load() error {
	version, err := r.s.metaNumber(keyDataVersion)
	if err != nil {
		return err
	}
	if r.s.version = engine.DataVersion(version); version != uint64(r.s.version) || !r.s.version.Known() {
		return fmt.Errorf("%w: %s: data version %d is not known", engine.ErrNotStore, r.s.dir, version)
	}
	n, err := r.s.metaNumber(keyFlushedDecree)
	r.decree = proto.Decree(n)
	return err
}

// Decree is the decree of the last mutation in the store.
func (r *ReadOnly) Decree() proto.Decree { return r.decree }

// DataVersion is the layout of its values.
func (r *ReadOnly) DataVersion() engine.DataVersion { return r.s.version }

// Get returns the stored value of a raw key, which belongs to the caller; found is false when there is none.
func (r *ReadOnly) Get(key []byte) (value []byte, found bool, err error) {
	var b engine.GetBatch
	b.Add(key)
	r.s.MultiGet(&b, engine.TierAll)
	switch b.Outcome(0) {
	case engine.Found:
		return append([]byte{}, b.Value(0)...), true, nil
	case engine.NotFound:
		return nil, false, nil
	}
	return nil, false, b.Err(0)
}

// NewIterator is that of engine.Store. It is closed before r.
func (r *ReadOnly) NewIterator(o engine.IterOptions) (engine.Iterator, error) {
	return r.s.NewIterator(o)
}

// Files are the table files that the store consists of.
func (r *ReadOnly) Files() []string {
	var files []string
	for _, f := range r.s.db.GetLiveFilesMetaData() {
		files = append(files, filepath.Join(r.s.dir, f.Name))
	}
	return files
}

// Verify reads every block of every file and compares its checksum. It takes as long as the store is large. Files are
// opened one by one: RocksDB's own VerifyChecksum is not meant for stores opened read-only.
func (r *ReadOnly) Verify() error {
	for _, path := range r.Files() {
		f, err := OpenSSTFile(path)
		if err == nil {
			err = f.Verify()
			f.Close()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// Close gives the store up. All iterators must have been closed.
func (r *ReadOnly) Close() {
	s := r.s
	if s.c != nil {
		C.pg_store_free(s.c)
	}
	s.data.Destroy()
	s.meta.Destroy()
	s.db.Close()
	s.opts.destroy()
	C.pg_state_free(s.state)
}
