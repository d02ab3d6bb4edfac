package conf

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The samples are the manual: they must load to the defaults, name every key once, and state the rule of each.
func TestSamplesAreTheDefaults(t *testing.T) {
	for _, c := range []struct {
		path      string
		got, want file
	}{
		{"pegasus-replica.toml", blankReplica(), DefaultReplica()},
		{"pegasus-meta.toml", blankMeta(), DefaultMeta()},
		{"pegasus-shell.toml", &Shell{DefaultCluster: "x", History: ShellHistory{File: "x", Lines: -1}}, DefaultShell()},
	} {
		text, err := os.ReadFile(c.path)
		if err != nil {
			t.Fatal(err)
		}
		// Decoding over zero values shows that the file names every key, not only that the named ones are right.
		if err := parse(c.path, text, c.got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s differs from the defaults:\n%+v\nwant\n%+v", c.path, c.got, c.want)
		}
		checkComments(t, c.path, string(text), "", reflect.TypeOf(c.want).Elem())
	}
}

// blankReplica has no defaults. Numbers are negative so that a default of 0 must be written in the file too.
func blankReplica() *Replica {
	c := &Replica{Node: ReplicaNode{Advertise: "x", Shards: -1, ShardPortBase: -1}, Log: ShardLog{Dir: "x"}}
	c.Logging.File = "x"
	return c
}

func blankMeta() *Meta {
	c := &Meta{Node: MetaNode{Advertise: "x", RaftListen: "x"}}
	c.Logging.File = "x"
	return c
}

func checkComments(t *testing.T, path, text, table string, typ reflect.Type) {
	for _, f := range reflect.VisibleFields(typ) {
		key, allow := f.Tag.Get("toml"), f.Tag.Get("allow")
		inner := f.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			checkComments(t, path, text, key, inner)
			continue
		}
		if allow == "" {
			t.Errorf("%s.%s has no allow tag", table, key)
			continue
		}
		section := text
		if table != "" {
			_, section, _ = strings.Cut(text, "["+table+"]")
		}
		before, _, ok := strings.Cut(section, "\n"+key+" = ")
		if !ok {
			t.Errorf("%s does not name %s.%s", path, table, key)
			continue
		}
		comment := before[strings.LastIndex(before, "\n")+1:]
		if want := "# Allowed: " + wanted(allow) + "."; comment != want {
			t.Errorf("%s: above %s.%s stands %q, want %q", path, table, key, comment, want)
		}
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEffectiveConfigurationLoadsAgain(t *testing.T) {
	r, err := LoadReplica("pegasus-replica.toml")
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadReplica(write(t, r.String()))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r, again) {
		t.Errorf("replica printed as\n%s\nloads as\n%s", r, again)
	}
	m, err := LoadMeta("pegasus-meta.toml")
	if err != nil {
		t.Fatal(err)
	}
	metaAgain, err := LoadMeta(write(t, m.String()))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(m, metaAgain) {
		t.Errorf("meta printed as\n%s\nloads as\n%s", m, metaAgain)
	}
	s, err := LoadShell("pegasus-shell.toml")
	if err != nil {
		t.Fatal(err)
	}
	shellAgain, err := LoadShell(write(t, s.String()))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s, shellAgain) {
		t.Errorf("shell printed as\n%s\nloads as\n%s", s, shellAgain)
	}
}

func TestShellFile(t *testing.T) {
	t.Setenv("HOME", "/home/ann")
	path := write(t, `
default_cluster = "b"
[history]
file = "~/h"
[[clusters]]
name = "a"
metas = ["10.0.0.1:34601"]
[[clusters]]
name = "b"
metas = ["10.0.0.2:34601", "10.0.0.3:34601"]
`)
	c, err := LoadShell(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.History.File != "/home/ann/h" || len(c.Clusters) != 2 || c.Clusters[1].Metas[1] != "10.0.0.3:34601" {
		t.Errorf("loaded %+v", c)
	}
	_, err = LoadShell(write(t, "default_cluster = \"c\"\n[[clusters]]\nname = \"a\"\nmetas = [\"x\"]\n[[clusters]]\nname = \"a\"\n"))
	if err == nil {
		t.Fatal("nonsense was accepted")
	}
	for _, want := range []string{`default_cluster: no cluster is called "c"`, `clusters[0].metas: element 1`, `clusters[1].name: "a": given twice`,
		`clusters[1].metas: missing`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
}

func TestLoadResolves(t *testing.T) {
	path := write(t, `
[node]
listen = "10.1.2.3:34801"
data_dirs = ["a", "/b"]
[logging]
file = "log/replica.log"
`)
	c, err := LoadReplica(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	if want := []string{filepath.Join(dir, "a"), "/b"}; !reflect.DeepEqual(c.Node.DataDirs, want) {
		t.Errorf("data_dirs %v, want %v", c.Node.DataDirs, want)
	}
	tagged, err := LoadReplica(write(t, `
[node]
data_dirs = ["nvme0:a", "b", "hdd:/c", "d"]
data_dirs_black_list = ["a", "/c"]
`))
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Dir(tagged.Log.Dir)
	if want := []DataDir{{"disk2", filepath.Join(dir, "b")}, {"disk4", filepath.Join(dir, "d")}}; !reflect.DeepEqual(tagged.Dirs(), want) ||
		tagged.Log.Dir != want[0].Path {
		t.Errorf("data folders %v, log.dir %s, want %v", tagged.Dirs(), tagged.Log.Dir, want)
	}
	twice := write(t, "[node]\ndata_dirs = [\"x:a\", \"x:b\"]")
	if _, err := LoadReplica(twice); err == nil || !strings.Contains(err.Error(), `tag "x" given twice`) {
		t.Errorf("a tag given twice: %v", err)
	}
	dir = filepath.Dir(path)
	if want := filepath.Join(dir, "a"); c.Log.Dir != want {
		t.Errorf("log.dir %q, want the first data folder %q", c.Log.Dir, want)
	}
	if want := filepath.Join(dir, "log/replica.log"); c.Logging.File != want {
		t.Errorf("logging.file %q, want %q", c.Logging.File, want)
	}
	if c.Node.Advertise != "10.1.2.3:34801" {
		t.Errorf("advertise %q", c.Node.Advertise)
	}

	m, err := LoadMeta(write(t, `
[node]
listen = "0.0.0.0:34602"
advertise = "10.0.0.2:34602"
[[peers]]
address = "10.0.0.1:34601"
raft = "10.0.0.1:34611"
[[peers]]
address = "10.0.0.2:34602"
raft = "10.0.0.2:34612"
`))
	if err != nil {
		t.Fatal(err)
	}
	if m.Node.RaftListen != "10.0.0.2:34612" || m.Self() != m.Peers[1] {
		t.Errorf("raft_listen %q, self %v", m.Node.RaftListen, m.Self())
	}
}

func TestAllViolationsAtOnce(t *testing.T) {
	path := write(t, `cluster_name = "two words"
metas = ["127.0.0.1:34601", "nowhere",
  "127.0.0.1:34601"]   # the third repeats the first
colour = "red"

[node]
listen = "0.0.0.0:34801"
shards = "four"
data_dirs = "data"

[log]
sync = "never"
segment_size = 64
max_total_size = "8MiB"

[limits]
max_frame = "900 GiB"
max_sesions = 3

[requests]
iteration_time = "soon"

[nodes]
x = 1

[logging]
level = "loud"
`)
	_, err := LoadReplica(path)
	want := strings.ReplaceAll(`FILE:1: cluster_name: "two words": want 1 to 64 letters, digits, dots, dashes or underscores
FILE:2: metas: element 2, "nowhere": want an address such as "10.0.0.1:34801"
FILE:2: metas: element 3, "127.0.0.1:34601": given twice
FILE:4: colour: unknown key; known here: cluster_name, debug, limits, log, logging, meta_link, metas, node, replication, requests, store
FILE:6: node.advertise: missing: node.listen "0.0.0.0:34801" is every interface, so say which address others dial
FILE:8: node.shards: "four": want a whole number in 0..256
FILE:9: node.data_dirs: "data": want a list of texts, each a path that is not empty
FILE:12: log.sync: "never": want "group" or "os"
FILE:13: log.segment_size: 64: want a size such as "64MiB" (units B, KiB, MiB, GiB, TiB)
FILE:14: log.max_total_size: 8MiB: want at least four segments of log.segment_size 64MiB
FILE:17: limits.max_frame: "900 GiB": want 1MiB to 1GiB
FILE:18: limits.max_sesions: unknown key; known here: max_frame, max_inbound, max_outbound, max_scan_contexts, max_sessions, max_write, min_free_disk, prepare_window_bytes, prepare_window_count
FILE:21: requests.iteration_time: "soon": want a duration such as "500ms", "3s" or "5m"
FILE:23: nodes: unknown key; known here: cluster_name, debug, limits, log, logging, meta_link, metas, node, replication, requests, store
FILE:27: logging.level: "loud": want "debug" or "info" or "warn" or "error"`, "FILE", path)
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	var v *Violations
	if !errors.As(err, &v) || len(v.List) != 15 {
		t.Errorf("the error is not the list of 15 violations: %#v", err)
	}
}

func TestMetaViolations(t *testing.T) {
	path := write(t, `[node]
listen = "127.0.0.1:34604"

[[peers]]
address = "127.0.0.1:34601"
raft = "127.0.0.1:34611"

[[peers]]
address = "127.0.0.1:34602"
raft = "127.0.0.1:34611"
weight = 2

[[peers]]
address = "127.0.0.1:34603"

[cluster]
min_replica_count = 7
`)
	_, err := LoadMeta(path)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`:10: peers[1].raft: "127.0.0.1:34611": given twice`,
		`:11: peers[1].weight: unknown key; known here: address, raft`,
		`:13: peers[2].raft: missing: want an address`,
		`:17: cluster.min_replica_count: 7: want at most cluster.max_replica_count 5`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}

	_, err = LoadMeta(write(t, "[node]\nlisten = \"127.0.0.1:34604\"\n"))
	if err == nil || !strings.Contains(err.Error(), `none has the address "127.0.0.1:34604" of this server`) {
		t.Errorf("a server outside of its peers: %v", err)
	}
}

func TestSyntaxErrorNamesTheLine(t *testing.T) {
	path := write(t, "cluster_name = \"x\"\n\n[node\nlisten = 1\n")
	_, err := LoadReplica(path)
	if err == nil || !strings.HasPrefix(err.Error(), path+":3: ") {
		t.Errorf("got %v, want %s:3: ...", err, path)
	}
	path = write(t, "cluster_name = \"x\"\ncluster_name = \"y\"\n")
	if _, err = LoadReplica(path); err == nil || !strings.HasPrefix(err.Error(), path+":2: ") {
		t.Errorf("a key given twice: %v, want %s:2: ...", err, path)
	}
	if _, err := LoadReplica(filepath.Join(t.TempDir(), "none.toml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestRelations(t *testing.T) {
	for name, text := range map[string]string{
		"limits.max_inbound":                    "[limits]\nmax_inbound = \"2MiB\"",
		"limits.max_frame":                      "[limits]\nmax_frame = \"1MiB\"",
		"limits.max_outbound":                   "[limits]\nmax_outbound = \"8MiB\"",
		"limits.prepare_window_bytes":           "[limits]\nprepare_window_bytes = \"1MiB\"\nmax_write = \"2MiB\"",
		"store.write_buffer_total":              "[store]\nwrite_buffer_total = \"1MiB\"",
		"meta_link.ack_timeout":                 "[meta_link]\nack_timeout = \"1s\"",
		"metas":                                 "metas = []",
		"node.data_dirs":                        "[node]\ndata_dirs = []",
		"node.data_dirs_black_list":             "[node]\ndata_dirs = [\"ssd:a\", \"b\"]\ndata_dirs_black_list = [\"b\", \"a\"]",
		"node.advertise":                        "[node]\nadvertise = \"0.0.0.0:1\"",
		"node.shard_port_base":                  "[node]\nshards = 8\nshard_port_base = 34795",
		"log.max_pending":                       "[log]\nmax_pending = \"1MiB\"",
		"requests.multi_get_max_iteration_size": "[requests]\nmulti_get_max_iteration_size = \"1B\"",
	} {
		var v *Violations
		if _, err := LoadReplica(write(t, text)); !errors.As(err, &v) || len(v.List) != 1 || v.List[0].Key != name {
			t.Errorf("%q: got %v, want one violation of %s", text, err, name)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"0B": 0, "1B": 1, "1024B": KiB, "64MiB": 64 * MiB, "3 GiB": 3 * GiB, "2TiB": 2 * TiB} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %v, %v, want %v", text, got, err, want)
		}
		if back, err := ParseSize(got.String()); err != nil || back != got {
			t.Errorf("%v does not read back: %v, %v", got, back, err)
		}
	}
	for _, text := range []string{"", "1", "MiB", "-1MiB", "1.5GiB", "1MB", "9999999TiB", "99999999999999999999B"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %v, want an error", text, got)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"0s": 0, "500ms": 500 * time.Millisecond, "5m": 5 * time.Minute, "1h30m": 90 * time.Minute, "2h": 2 * time.Hour, "90s": 90 * time.Second} {
		got, err := ParseDuration(text)
		if err != nil || got.Std() != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
		if back, err := ParseDuration(got.String()); err != nil || back != got {
			t.Errorf("%v does not read back: %v, %v", got, back, err)
		}
	}
	if s := Duration(5 * time.Minute).String(); s != "5m" {
		t.Errorf("five minutes print as %q", s)
	}
	for _, text := range []string{"", "5", "-1s", "soon"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}

func TestLineIndex(t *testing.T) {
	x := indexLines([]byte(`a = 1
"b" . c = "x # no comment [" # comment [
list = [ # one
  "]", 2,
]
text = """
[not.a.table]
d = 1
"""
[t."u"]
e = '''
f = 1 '''
[[p]]
g = 1
[[p]]
g = 2`))
	for key, want := range map[string]int{"a": 1, "b.c": 2, "list": 3, "text": 6, "t.u": 10, "t.u.e": 11, "p[0].g": 14, "p[1].g": 16, "t.u.none": 10, "none": 0} {
		if got := x.of(key); got != want {
			t.Errorf("line of %s is %d, want %d", key, got, want)
		}
	}
	if _, ok := x["d"]; ok {
		t.Error("a line inside a text was taken for a key")
	}
}

func FuzzParse(f *testing.F) {
	for _, path := range []string{"pegasus-replica.toml", "pegasus-meta.toml"} {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("node = 1\npeers = [1]\n[log.sync]\n[[limits]]\n"))
	f.Add([]byte("[ \"a]\" . b ]\n[[x . \"]]\"]]\n'k=' = 1\nk = '''a\n''' \n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := parse("f", text, DefaultReplica()); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
		if err := parse("f", text, DefaultMeta()); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}

func TestLogging(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log", "x.log")
	log, closeLog, err := Logging{Level: "warn", File: path, Format: "json"}.Open()
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.Warn("loud")
	closeLog()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "quiet") || !strings.Contains(string(text), `"msg":"loud"`) {
		t.Errorf("log holds %q", text)
	}
	if _, _, err := (Logging{Level: "info", File: filepath.Join(path, "below-a-file")}).Open(); err == nil {
		t.Error("no error for a file that cannot be opened")
	}
}

// A debug port that others could reach is refused, also when it hides behind a name.
func TestDebugPortIsLocal(t *testing.T) {
	for _, address := range []string{"0.0.0.0:1", "10.0.0.1:34900", "localhost:34900"} {
		_, err := LoadReplica(write(t, "[debug]\nlisten = \""+address+"\"\n"))
		if err == nil || !strings.Contains(err.Error(), "debug.listen") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := LoadReplica(write(t, "[debug]\nlisten = \"127.0.0.1:34900\"\n")); err != nil {
		t.Error(err)
	}
}
