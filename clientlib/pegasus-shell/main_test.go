package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pegasus/clientlib"
	"pegasus/conf/onebox"
)

// envRun makes the test program be pegasus-shell.
const envRun = "PEGASUS_SHELL_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(envRun) != "" {
		main()
	}
	os.Exit(m.Run())
}

// patience is how long a test waits for something that ought to take moments; the machine may be busy.
const patience = 60 * time.Second

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// world is a cluster, and the environment of a shell that knows it by the name "test".
type world struct {
	cluster *onebox.Cluster
	env     []string
	tmp     string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, onebox.Options{Shards: 2, Tables: onebox.DefaultTables})
}

// newWorldOf waits until the tables of o have all their members.
func newWorldOf(t *testing.T, o onebox.Options) *world {
	t.Helper()
	bin := os.Getenv(onebox.EnvBin)
	if bin == "" {
		var err error
		if bin, err = onebox.Build(); err != nil {
			t.Fatal(err)
		}
	}
	o.Bin = bin
	c := onebox.Start(t, o)
	client, err := clientlib.Dial(clientlib.Options{Metas: c.Metas()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, k := range o.Tables {
		if err := client.WaitHealthy(ctx, k.Name, k.Replicas); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "shell.toml")
	text := fmt.Sprintf("timeout = \"20s\"\n[history]\nfile = \"history\"\n[[clusters]]\nname = \"test\"\nmetas = [\"%s\"]\n",
		strings.Join(c.Metas(), `", "`))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{
		envRun + "=1", "PEGASUS_SHELL_CONFIG=" + config, "HOME=" + dir, "INPUTRC=/dev/null", "TERM=xterm", "NO_COLOR=1",
		"PATH=" + bin + ":" + os.Getenv("PATH"),
	}
	return &world{cluster: c, env: env, tmp: t.TempDir()}
}

// normal replaces what differs from run to run: addresses, times, folders, durations.
func (w *world) normal(text string) string {
	text = strings.ReplaceAll(text, w.cluster.Dir, "DIR")
	text = strings.ReplaceAll(text, w.tmp, "TMP")
	for _, r := range []struct{ old, new string }{
		{`127\.0\.0\.1:\d{5}`, "127.0.0.1:PORT_"},
		{`127\.0\.0\.1:\d{4}`, "127.0.0.1:PORT"},
		{`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?`, "DATE_AND_TIME______"},
		{`go1\.[0-9.]+`, "GO"},
		{`rocksdb default: .*?assertions on`, "rocksdb PROFILE"},
		{`[0-9a-f]{32}`, "NODE_ID"},
		{`\d{6}\.sst`, "NUMBER.sst"},
		{`meta[1-3]/`, "metaN/"},
		{`took [0-9.]+(ms|s|µs):[^;]*;`, "took TIME: STAGES;"},
		{`up to decree \d+`, "up to decree N"},
		{`in \d+(\.\d+)?(ms|s|µs)`, "in TIME"},
		{`("seconds":|seconds +: )[0-9.e-]+`, "${1}TIME"},
	} {
		text = regexp.MustCompile(r.old).ReplaceAllString(text, r.new)
	}
	return text
}
