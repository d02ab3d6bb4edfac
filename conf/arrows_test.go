package conf_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// arrows says what the packages of a folder may import from this module. The longest matching folder counts, "..." at the
// end of a target means everything below it. A package may always import what the leaves offer and its own subfolders are
// no exception: they have to be named.
var arrows = map[string][]string{
	"netcore":           {"netcore/..."},
	"netcore/proto":     {"netcore/invariant"},
	"netcore/invariant": {},

	"netcore/proto/golden": {"netcore/proto/golden/..."},

	"consensus":        {"netcore/proto", "netcore/invariant"},
	"consensus/mutlog": {"netcore/proto", "netcore/invariant", "netcore/disk"},
	"consensus/pacsim": {"consensus/...", "netcore/...", "engine", "engine/mem", "metasvc/core", "clientlib/route"},

	"engine": {"engine/...", "netcore/proto", "netcore/invariant"},

	"shard":                 {"shard/...", "consensus/...", "engine/...", "netcore/..."},
	"shard/pegasus-replica": {"shard/...", "consensus/...", "engine/...", "netcore/...", "conf"},

	"metasvc":              {"metasvc/...", "netcore/..."},
	"metasvc/core":         {"netcore/proto", "netcore/invariant", "metasvc/balance"},
	"metasvc/balance":      {},
	"metasvc/pegasus-meta": {"metasvc/...", "netcore/...", "conf"},

	"clientlib":               {"clientlib/...", "netcore/proto", "netcore/invariant"},
	"clientlib/route":         {"netcore/proto", "netcore/invariant"},
	"clientlib/pegasus-shell": {"clientlib/...", "netcore/proto", "netcore/invariant", "conf"},

	"conf":                {},
	"conf/onebox":         {"conf", "clientlib", "netcore/proto"},
	"conf/pegasus-onebox": {"conf", "conf/onebox"},

	"perf":               {"perf/...", "clientlib/...", "netcore/proto", "netcore/invariant"},
	"perf/pegasus-bench": {"perf/...", "clientlib/...", "netcore/proto", "netcore/invariant", "conf/..."},
}

// forTests are for tests, and for their own subfolders: no program may contain them.
var forTests = []string{"netcore/proto/golden", "engine/enginetest", "consensus/pacsim"}

// pure packages are state machines that a simulator runs: what would let the world in stays out.
var pure = []string{"consensus", "metasvc/core", "metasvc/balance", "netcore/invariant", "clientlib/route"}

var impure = []string{"C", "context", "math/rand", "math/rand/v2", "net", "os", "os/exec", "sync", "sync/atomic", "syscall", "testing"}

const module = "pegasus"

type listed struct {
	ImportPath string
	Imports    []string
	CgoFiles   []string
	Standard   bool
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,CgoFiles,Standard"}, args...)...)
	cmd.Dir = root(t)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// inside cuts the module's name off an import path; ok is false for packages of others.
func inside(path string) (string, bool) { return strings.CutPrefix(path, module+"/") }

func ruleFor(folder string) ([]string, bool) {
	for {
		if rule, ok := arrows[folder]; ok {
			return rule, true
		}
		cut := strings.LastIndexByte(folder, '/')
		if cut < 0 {
			return nil, false
		}
		folder = folder[:cut]
	}
}

func within(folder, tree string) bool { return folder == tree || strings.HasPrefix(folder, tree+"/") }

func permitted(rule []string, target string) bool {
	for _, r := range rule {
		if tree, all := strings.CutSuffix(r, "/..."); all && within(target, tree) || r == target {
			return true
		}
	}
	return false
}

func TestImportArrows(t *testing.T) {
	packages := list(t, "./...")
	if len(packages) < 10 {
		t.Fatalf("go list found %d packages only", len(packages))
	}
	for _, p := range packages {
		folder, ok := inside(p.ImportPath)
		if !ok {
			t.Errorf("%s lies at the top", p.ImportPath)
			continue
		}
		rule, ok := ruleFor(folder)
		if !ok {
			t.Errorf("%s has no place in the layout", folder)
			continue
		}
		for _, i := range p.Imports {
			if target, ok := inside(i); ok {
				if !permitted(rule, target) {
					t.Errorf("%s imports %s; it may import %v", folder, target, rule)
				}
				for _, f := range forTests {
					if within(target, f) && !within(folder, f) {
						t.Errorf("%s imports %s, which is for tests", folder, target)
					}
				}
			}
			if slices.Contains(pure, folder) && slices.Contains(impure, i) {
				t.Errorf("%s is pure and imports %q", folder, i)
			}
		}
		if len(p.CgoFiles) > 0 && folder != "engine/rocks" {
			t.Errorf("%s uses cgo; only engine/rocks may", folder)
		}
	}
}

func TestRulesCanFail(t *testing.T) {
	for _, c := range []struct{ from, to string }{
		{"netcore/loop", "engine"}, {"netcore/proto", "netcore/loop"}, {"consensus", "netcore/disk"}, {"engine/rocks", "consensus"},
		{"shard", "conf"}, {"metasvc/core", "netcore/loop"}, {"clientlib", "netcore/loop"}, {"shard/rrdb", "metasvc"}, {"conf", "netcore/proto"},
	} {
		if rule, ok := ruleFor(c.from); !ok || permitted(rule, c.to) {
			t.Errorf("%s may import %s", c.from, c.to)
		}
	}
	if rule, ok := ruleFor("shard/pegasus-replica"); !ok || !permitted(rule, "conf") {
		t.Error("a main may not import conf")
	}
}

func TestClientIsStandalone(t *testing.T) {
	for _, p := range list(t, "-deps", "./clientlib") {
		if folder, ok := inside(p.ImportPath); !ok && !p.Standard {
			t.Errorf("clientlib depends on %s", p.ImportPath)
		} else if ok && !permitted(arrows["clientlib"], folder) {
			t.Errorf("clientlib depends on %s", folder)
		}
	}
	cmd := exec.Command("go", "build", "./clientlib/...", "./netcore/proto")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("clientlib without cgo: %v\n%s", err, out)
	}
}

func TestTopLevel(t *testing.T) {
	folders := []string{"netcore", "shard", "engine", "consensus", "metasvc", "clientlib", "conf", "perf"}
	files := []string{"go.mod", "go.sum", "Makefile", "README.md", "LICENSE"}
	built := []string{"bin"}
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		legal := strings.HasPrefix(name, ".") || filepath.Ext(name) == ".test" || filepath.Ext(name) == ".prof"
		if e.IsDir() {
			legal = legal || slices.Contains(folders, name) || slices.Contains(built, name)
		} else {
			legal = legal || slices.Contains(files, name)
		}
		if !legal {
			t.Errorf("%s has no place at the top level", name)
		}
	}
}
