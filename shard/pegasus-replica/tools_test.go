package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/engine"
	"pegasus/engine/rocks"
	"pegasus/netcore/proto"
)

// smallStore makes a store with three records, of which one was removed, and returns its folder.
func smallStore(t *testing.T) string {
	t.Helper()
	shared, err := rocks.NewShared(rocks.SharedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	dir := filepath.Join(t.TempDir(), "rdb")
	s, err := rocks.Open(dir, rocks.Options{Shared: shared})
	if err != nil {
		t.Fatal(err)
	}
	tag := engine.Timetag(1_700_000_000_000_000, 1, false)
	for i, k := range []string{"a", "b", "c"} {
		var b engine.BatchBuilder
		b.Put(engine.AppendKey(nil, []byte("user\x00"), []byte(k)), uint32(i)*1_000_000, tag, []byte("value "+k))
		if i == 2 {
			b.Delete(engine.AppendKey(nil, []byte("user\x00"), []byte("a")))
		}
		if err := s.Apply(proto.Decree(i+1), b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestStoreTools(t *testing.T) {
	dir := smallStore(t)
	const b, c = `"user\x00" : "b" => "value b"  (expires 2016-01-12T13:46:40Z)`, `"user\x00" : "c" => "value c"  (expires 2016-01-24T03:33:20Z)`
	run := func(line string, args ...string) (string, int) {
		var out, said strings.Builder
		words := append(strings.Fields(line), args...)
		code := runTool(words[0], words[1:], &out, &said)
		return strings.ReplaceAll(out.String()+said.String(), dir, "DB"), code
	}
	for _, k := range []struct {
		line string
		args []string
		code int
		want []string // in the output
		not  string   // not in it
	}{
		{"local_get", []string{dir, `user\x00`, "b"}, 0, []string{b + "\n"}, ""},
		{"local_get --json", []string{dir, `user\x00`, "c"}, 0, []string{`{"hash_key":"user\\x00","sort_key":"c","value":"value c","expires":"2016-01-24T03:33:20Z",` +
			`"timestamp_us":1700000000000000,"cluster_id":1}`}, ""},
		{"local_get", []string{dir, `user\x00`, "a"}, exitNotFound, []string{"record not found", "decree 3"}, ""},
		{"local_get", []string{dir, `user\q`, "a"}, exitUsage, []string{`\q`}, ""},
		{"local_get", []string{dir}, exitUsage, []string{"usage: local_get"}, ""},
		{"local_get", []string{t.TempDir(), "a", "b"}, exitFailed, []string{"CURRENT"}, ""},
		{"sst_dump --file=" + dir, nil, 0, []string{"default, 3 entries, sound", "pegasus_meta_cf, 3 entries, sound"}, "value b"},
		{"sst_dump --command=scan --pegasus_data --file=" + dir, nil, 0, []string{b, c, "'pegasus_last_flushed_decree' => 3"}, "value a"},
		{"sst_dump --command=scan --file=" + dir, nil, 0, []string{`'\x00\x05user\x00b' => `}, ""},
		{"sst_dump --command=raw --read_num=1 --file=" + dir, nil, 0, []string{"'0005757365720062' => 000f424"}, "0005757365720063"},
		{"sst_dump --command=raw --from=0005757365720063 --file=" + dir, nil, 0, []string{"0005757365720063"}, "0005757365720062"},
		{"sst_dump --command=raw --to=0005757365720063 --file=" + dir, nil, 0, []string{"0005757365720062"}, "0005757365720063"},
		{"sst_dump --command=none --show_properties --file=" + dir, nil, 0, []string{"# entries: 3"}, "sound"},
		{"sst_dump --command=all --file=" + dir, nil, exitUsage, []string{"want check, scan"}, ""},
		{"sst_dump --from=xx --file=" + dir, nil, exitUsage, []string{"--from=xx"}, ""},
		{"sst_dump", nil, exitUsage, []string{"--file is missing"}, ""},
		{"mlog_dump", nil, exitUsage, []string{"--input is missing"}, ""},
		{"mlog_dump --input=" + dir, nil, exitFailed, []string{"holds no segment"}, ""},
		{"check", nil, exitUsage, []string{"usage: check"}, ""},
		{"check --wrong", nil, exitUsage, []string{"-wrong"}, ""},
		{"check", []string{t.TempDir()}, exitFailed, []string{"problem: ", "the data is not sound"}, ""},
	} {
		out, code := run(k.line, k.args...)
		if code != k.code || k.not != "" && strings.Contains(out, k.not) {
			t.Errorf("%s %q ended with %d, want %d:\n%s", k.line, k.args, code, k.code, out)
		}
		for _, w := range k.want {
			if !strings.Contains(out, w) {
				t.Errorf("%s %q does not say %s:\n%s", k.line, k.args, w, out)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text[20] ^= 1
		if err := os.WriteFile(f, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, code := run("sst_dump --file=" + files[0]); code != exitFailed || !strings.Contains(out, "checksum") {
		t.Errorf("a damaged file: %d\n%s", code, out)
	}
}
