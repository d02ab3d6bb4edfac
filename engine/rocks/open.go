package rocks

// #include "shim.h"
import "C"

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/linxGnu/grocksdb"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// Names on storage, those of Apache Pegasus (spec rrdb 5). All meta values are ASCII.
const (
	DataFamily = "default" // holds the records
	metaCF     = "pegasus_meta_cf"

	keyDataVersion   = "pegasus_data_version"
	keyFlushedDecree = "pegasus_last_flushed_decree"
	keyCompactFinish = "pegasus_last_manual_compact_finish_time" // unix milliseconds
	keyUsageScenario = "rocksdb.usage_scenario"
)

// maxMetaValue bounds a meta value.
const maxMetaValue = 256

// Open opens the store in dir. A directory that is missing or empty becomes a new store, unless o.MustExist. Errors match
// ErrNotStore (something else is there, or a newer format), ErrCorruption (damaged) or ErrIO.
func Open(dir string, o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", engine.ErrIO, err)
	case len(entries) == 0 && o.MustExist:
		return nil, fmt.Errorf("%w: %s is empty", engine.ErrNotStore, dir)
	case len(entries) == 0:
		if err := create(dir, o); err != nil {
			return nil, err
		}
	}
	if err := checkFamilies(dir); err != nil {
		return nil, err
	}
	o.Levels = levelsOf(dir)
	s, err := openDB(dir, o, false)
	if err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// checkFamilies refuses what has not exactly our column families: RocksDB would create those that are missing.
func checkFamilies(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "CURRENT")); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s has no CURRENT file", engine.ErrNotStore, dir)
		}
		return fmt.Errorf("%w: %w", engine.ErrIO, err)
	}
	plain := grocksdb.NewDefaultOptions()
	defer plain.Destroy()
	names, err := grocksdb.ListColumnFamilies(plain, dir)
	if err != nil {
		return openError(dir, err)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{DataFamily, metaCF}) {
		return fmt.Errorf("%w: %s has column families %q", engine.ErrNotStore, dir, names)
	}
	return nil
}

// levelsOf is the number of levels that a store was last opened with, as RocksDB notes it beside the data, or the default.
func levelsOf(dir string) int {
	names, err := filepath.Glob(filepath.Join(dir, "OPTIONS-*"))
	if err != nil || len(names) == 0 {
		return defaultLevels
	}
	slices.Sort(names) // numbers of equal length
	text, err := os.ReadFile(names[len(names)-1])
	if err != nil {
		return defaultLevels
	}
	_, family, _ := strings.Cut(string(text), `[CFOptions "`+DataFamily+`"]`)
	_, value, _ := strings.Cut(family, "num_levels=")
	value, _, _ = strings.Cut(value, "\n")
	n, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil || n < 1 {
		return defaultLevels
	}
	return n
}

// create makes an empty store beside dir and moves it there, so that a crash leaves no half of one under its name.
func create(dir string, o Options) error {
	tmp := dir + ".creating"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrIO, err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrIO, err)
	}
	s, err := openDB(tmp, o, true)
	if err != nil {
		return err
	}
	err = errors.Join(
		s.metaPut(keyDataVersion, strconv.Itoa(int(engine.DataV1))),
		s.metaPut(keyFlushedDecree, "0"),
		s.metaPut(keyCompactFinish, "0"),
		s.flush(),
		s.Close())
	if err == nil {
		err = publish(tmp, dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	return nil
}

// publish renames tmp to dir, which may exist when it is empty, and makes that durable.
func publish(tmp, dir string) error {
	err := os.Remove(dir)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.Rename(tmp, dir)
	}
	if err == nil {
		var parent *os.File
		if parent, err = os.Open(filepath.Dir(dir)); err == nil {
			err = errors.Join(parent.Sync(), parent.Close())
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrIO, err)
	}
	return nil
}

// openDB opens what is in dir, or with fresh set creates it, and does not look at the content.
func openDB(dir string, o Options, fresh bool) (*Store, error) {
	var st C.pg_status
	state := C.pg_state_new(C.uint32_t(engine.DataV1), &st)
	if err := statusErr(&st); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, o: o, state: state, gate: newGate()}
	s.tuning.Store(&engine.Tuning{Scenario: ScenarioNormal, WriteBufferBytes: o.WriteBufferBytes})
	s.SetTableOptions(o.Table)
	s.opts = o.build(state, false)
	s.opts.db.SetCreateIfMissing(fresh)
	s.opts.db.SetCreateIfMissingColumnFamilies(fresh)
	s.opts.db.SetErrorIfExists(fresh)
	db, cfs, err := grocksdb.OpenDbColumnFamilies(s.opts.db, dir,
		[]string{DataFamily, metaCF}, []*grocksdb.Options{s.opts.data, s.opts.meta})
	if err != nil {
		s.opts.destroy()
		C.pg_state_free(state)
		return nil, openError(dir, err)
	}
	s.db, s.data, s.meta = db, cfs[0], cfs[1]
	s.c = C.pg_store_new(handle(db), handle(s.data), handle(s.meta), state, &st)
	o.Shared.stores.Add(1)
	if err := statusErr(&st); err != nil {
		s.Close()
		return nil, err
	}
	s.metaID = s.meta.ID()
	return s, nil
}

// load reads what the store says of itself.
func (s *Store) load() error {
	version, err := s.metaNumber(keyDataVersion)
	if err != nil {
		return err
	}
	s.version = engine.DataVersion(version)
	if version != uint64(s.version) || !s.version.Known() {
		return fmt.Errorf("%w: %s: data version %d is not known", engine.ErrNotStore, s.dir, version)
	}
	C.pg_state_set_data_version(s.state, C.uint32_t(s.version))
	if _, err := s.metaNumber(keyFlushedDecree); err != nil {
		return err
	}
	decree, err := s.persistedDecree()
	if err != nil {
		return err
	}
	s.applied.Store(int64(decree))
	compacted, err := s.metaNumber(keyCompactFinish)
	if err != nil {
		return err
	}
	s.compacted.Store(int64(compacted))
	scenario, ok, err := s.metaGet(keyUsageScenario)
	if err != nil || !ok || scenario == ScenarioNormal {
		return err
	}
	return s.applyTuning(engine.Tuning{Scenario: scenario})
}

// metaNumber reads a meta record that every complete store has.
func (s *Store) metaNumber(key string) (uint64, error) {
	v, ok, err := s.metaGet(key)
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, fmt.Errorf("%w: %s has no %s", engine.ErrCorruption, s.dir, key)
	}
	n, err := strconv.ParseUint(v, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %s is %q", engine.ErrCorruption, s.dir, key, v)
	}
	return n, nil
}

func (s *Store) metaGet(key string) (value string, ok bool, err error) {
	var st C.pg_status
	var buf [maxMetaValue]byte
	n := C.pg_meta_get(s.c, text(key), C.size_t(len(key)), chars(buf[:]), C.size_t(len(buf)), &st)
	if err := statusErr(&st); err != nil || n < 0 {
		return "", false, err
	}
	if n > maxMetaValue {
		return "", false, fmt.Errorf("%w: %s: %s has %d bytes", engine.ErrCorruption, s.dir, key, n)
	}
	return string(buf[:n]), true, nil
}

func (s *Store) metaPut(key, value string) error {
	var st C.pg_status
	C.pg_meta_put(s.c, text(key), C.size_t(len(key)), text(value), C.size_t(len(value)), &st)
	return statusErr(&st)
}

func (s *Store) persistedDecree() (proto.Decree, error) {
	var st C.pg_status
	d := C.pg_persisted_decree(s.c, &st)
	return proto.Decree(d), statusErr(&st)
}

// decreeOf opens the store in dir read-only, leaves nothing behind in it, and returns its decree.
func decreeOf(dir string, o Options) (proto.Decree, error) {
	// Not all files, as an open store must: for one record that would be slow, and fill the cache with their indexes.
	r, err := openReadOnly(dir, o, 32)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return r.decree, nil
}
