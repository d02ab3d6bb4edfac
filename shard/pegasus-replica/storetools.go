package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pegasus/engine"
	"pegasus/engine/rocks"
)

// toolCache is the block cache of a tool, in bytes; toolFiles how many files of a store it keeps open.
const (
	toolCache = 8 << 20
	toolFiles = 64
)

// openStore opens a store for reading. done closes it.
func openStore(dir string) (store *rocks.ReadOnly, done func(), err error) {
	shared, err := rocks.NewShared(rocks.SharedOptions{BlockCacheBytes: toolCache})
	if err != nil {
		return nil, nil, err
	}
	if store, err = rocks.OpenReadOnly(dir, rocks.Options{Shared: shared}, toolFiles); err != nil {
		shared.Close()
		return nil, nil, err
	}
	return store, func() {
		store.Close()
		shared.Close()
	}, nil
}

// record is a stored record taken apart, as JSON has it.
type record struct {
	HashKey   string  `json:"hash_key"`
	SortKey   string  `json:"sort_key"`
	Value     string  `json:"value"`
	Expires   *string `json:"expires"` // null for never
	Timestamp int64   `json:"timestamp_us,omitempty"`
	Cluster   uint8   `json:"cluster_id,omitempty"`
}

// describe takes a stored record apart, for JSON and for people.
func (t *tool) describe(version engine.DataVersion, key, value []byte) (record, string, error) {
	h, s, ok := engine.SplitKey(key)
	if !ok {
		return record{}, "", fmt.Errorf("%s is no key", hex.EncodeToString(key))
	}
	v, err := engine.ParseValue(version, value)
	if err != nil {
		return record{}, "", err
	}
	r := record{
		HashKey: t.shown(h), SortKey: t.shown(s), Value: t.shown(v.User),
		Timestamp: engine.TimetagTimestamp(v.Timetag), Cluster: engine.TimetagCluster(v.Timetag),
	}
	text := t.quoted(h) + " : " + t.quoted(s) + " => " + t.quoted(v.User)
	if v.Expire > 0 {
		at := time.Unix(int64(v.Expire)+engine.EpochOffset, 0).UTC().Format(time.RFC3339)
		r.Expires = &at
		text += "  (expires " + at + ")"
	}
	return r, text, nil
}

func localGet(t *tool, args []string) error {
	args, err := t.parse(args, 3, 3, "local_get DB_PATH HASH_KEY SORT_KEY")
	if err != nil {
		return err
	}
	h, err := unescape(args[1])
	if err != nil {
		return err
	}
	s, err := unescape(args[2])
	if err != nil {
		return err
	}
	if len(h) > engine.MaxHashKeyLen {
		return usageError("the hash key has %d bytes, %d are allowed", len(h), engine.MaxHashKeyLen)
	}
	store, done, err := openStore(args[0])
	if err != nil {
		return err
	}
	defer done()
	key := engine.AppendKey(nil, h, s)
	value, found, err := store.Get(key)
	if err != nil {
		return err
	}
	if !found {
		return toolError{exitNotFound, fmt.Errorf("record not found; the store has all mutations up to decree %d", store.Decree())}
	}
	r, text, err := t.describe(store.DataVersion(), key, value)
	if err != nil {
		return err
	}
	return t.object(r, text)
}

// dump is one run of sst_dump.
type dump struct {
	*tool
	command    string
	from, to   []byte
	count      int64 // records of each file that are printed; 0: all
	properties bool
	decode     bool
	version    engine.DataVersion
}

func sstDump(t *tool, args []string) error {
	d := dump{tool: t}
	file := t.flags.String("file", "", "store, or one .sst file")
	t.flags.StringVar(&d.command, "command", "check", "check, scan, raw or none")
	from := t.flags.String("from", "", "first key, in hex")
	to := t.flags.String("to", "", "key to stop before, in hex")
	t.flags.Int64Var(&d.count, "read_num", 0, "how many records of each file, 0 for all")
	t.flags.BoolVar(&d.properties, "show_properties", false, "what the files say of themselves")
	t.flags.BoolVar(&d.decode, "pegasus_data", false, "take keys and values apart")
	if _, err := t.parse(args, 0, 0, "sst_dump --file=PATH [--command=check|scan|raw|none] ..."); err != nil {
		return err
	}
	var err error
	if d.from, err = unhex("from", *from); err != nil {
		return err
	}
	if d.to, err = unhex("to", *to); err != nil {
		return err
	}
	if !slices.Contains([]string{"check", "scan", "raw", "none"}, d.command) {
		return usageError("--command=%s: want check, scan, raw or none", d.command)
	}
	files, err := d.files(*file)
	if err != nil {
		return err
	}
	bad := 0
	for _, f := range files {
		if err := d.file(f); err != nil {
			bad++
			if err := d.object(map[string]any{"file": f, "problem": err.Error()}, f+": "+err.Error()); err != nil {
				return err
			}
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d files are bad", bad, len(files))
	}
	return nil
}

// files lists what is meant, and finds out the layout of values.
func (d *dump) files(path string) ([]string, error) {
	if path == "" {
		return nil, usageError("--file is missing: a store, or one .sst file")
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	d.version = engine.DataV1
	dir := path
	if !info.IsDir() {
		dir = filepath.Dir(path)
	}
	store, done, err := openStore(dir)
	if err == nil {
		defer done()
		d.version = store.DataVersion()
	}
	switch {
	case !info.IsDir():
		return []string{path}, nil // which may have been taken out of its store
	case err != nil:
		// A store that does not open still has files to look at.
		if list, _ := filepath.Glob(filepath.Join(path, "*.sst")); len(list) > 0 {
			return list, d.object(map[string]any{"store": path, "problem": err.Error()}, path+": "+err.Error())
		}
		return nil, err
	}
	list := store.Files()
	slices.Sort(list)
	return list, nil
}

func (d *dump) file(path string) error {
	f, err := rocks.OpenSSTFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	family, entries, err := f.Family()
	if err != nil {
		return err
	}
	if d.properties {
		p, err := f.Properties()
		if err != nil {
			return err
		}
		if err := d.object(map[string]any{"file": path, "properties": properties(p)}, path+"\n"+indent(p)); err != nil {
			return err
		}
	}
	switch d.command {
	case "none":
		return nil
	case "check":
		if err := f.Verify(); err != nil {
			return err
		}
		return d.object(map[string]any{"file": path, "family": family, "entries": entries, "sound": true},
			fmt.Sprintf("%s: %s, %d entries, sound", path, family, entries))
	}
	return d.scan(f, path, family)
}

func properties(text string) map[string]string {
	out := map[string]string{}
	for _, l := range strings.Split(text, "\n") {
		if k, v, ok := strings.Cut(l, ": "); ok {
			out[strings.TrimSpace(k)] = v
		}
	}
	return out
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ")
}

func (d *dump) scan(f *rocks.SSTFile, path, family string) error {
	if !d.json {
		fmt.Fprintf(d.out, "# %s: %s\n", path, family)
	}
	if err := f.Seek(d.from); err != nil {
		return err
	}
	for n := int64(0); d.count == 0 || n < d.count; n++ {
		more, err := f.Next()
		if err != nil || !more {
			return err
		}
		if len(d.to) > 0 && bytes.Compare(f.Key(), d.to) >= 0 {
			return nil
		}
		if err := d.print(f, family); err != nil {
			return err
		}
	}
	return nil
}

func (d *dump) print(f *rocks.SSTFile, family string) error {
	if d.command == "scan" && d.decode && family == rocks.DataFamily {
		r, text, err := d.describe(d.version, f.Key(), f.Value())
		if err != nil {
			return err
		}
		return d.object(r, text)
	}
	key, value := hex.EncodeToString(f.Key()), hex.EncodeToString(f.Value())
	if d.command == "scan" {
		key, value = d.shown(f.Key()), d.shown(f.Value())
	}
	return d.object(map[string]any{"key": key, "value": value}, "'"+key+"' => "+value)
}
