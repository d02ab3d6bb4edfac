package prometheus

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/clientlib"
	"pegasus/conf/onebox"
)

// program finds one of Debian's package prometheus, installed or fetched by .ci/deps.
func program(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path, err := filepath.Abs(filepath.Join("..", "..", ".cache", "prometheus", "usr", "bin", name))
	if err == nil {
		if _, err = os.Stat(path); err == nil {
			return path
		}
	}
	t.Skipf("there is no %s (Debian's package prometheus); `sh .ci/deps test` fetches it", name)
	return ""
}

func TestAlertRules(t *testing.T) {
	promtool := program(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"check", "config", "prometheus.yml"}, {"test", "rules", "alerts_test.yml"}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// Every alert has a test in which it goes off.
func TestAlertsAreTested(t *testing.T) {
	rules, tests := read(t, "alerts.yml"), read(t, "alerts_test.yml")
	names := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(rules, -1)
	if len(names) < 10 {
		t.Fatalf("only %d alerts found", len(names))
	}
	for _, m := range names {
		if !regexp.MustCompile(`alertname: ` + m[1] + `\n\s+exp_alerts:\n`).MatchString(tests) {
			t.Errorf("no test in which %s goes off", m[1])
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// dashboard returns the queries of the panels by title.
func dashboard(t *testing.T) map[string][]string {
	t.Helper()
	var d struct {
		Panels []struct {
			Title   string
			Type    string
			ID      int
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "../grafana/pegasus.json")), &d); err != nil {
		t.Fatal(err)
	}
	queries := map[string][]string{}
	for _, p := range d.Panels {
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || queries[p.Title] != nil {
			t.Errorf("panel %q has no query, or a title that another one has", p.Title)
		}
		for _, target := range p.Targets {
			queries[p.Title] = append(queries[p.Title], target.Expr)
		}
	}
	return queries
}

// server is a running Prometheus.
type server struct {
	t   *testing.T
	url string
}

func startPrometheus(t *testing.T, metas, replicas []string) *server {
	t.Helper()
	path, dir := program(t, "prometheus"), t.TempDir()
	list := func(addresses []string) string {
		quoted, _ := json.Marshal(addresses)
		return string(quoted)
	}
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - {job_name: pegasus-meta, static_configs: [{targets: %s}]}
  - {job_name: pegasus-replica, static_configs: [{targets: %s}]}
`, filepath.Join(wd(t), "alerts.yml"), list(metas), list(replicas))
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()
	cmd := exec.Command(path, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--log.level=warn")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &server{t, "http://" + address}
}

func wd(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func get(address string) (string, error) {
	client := http.Client{Timeout: 10 * time.Second}
	r, err := client.Get(address)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != 200 {
		err = fmt.Errorf("%s: %s: %s", address, r.Status, b)
	}
	return string(b), err
}

// results counts the series that a query gives now.
func (s *server) results(query string) (int, error) {
	body, err := get(s.url + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return 0, err
	}
	var out struct {
		Data struct{ Result []json.RawMessage }
	}
	err = json.Unmarshal([]byte(body), &out)
	return len(out.Data.Result), err
}

func (s *server) names() []string {
	s.t.Helper()
	body, err := get(s.url + "/api/v1/label/__name__/values")
	if err != nil {
		s.t.Fatal(err)
	}
	var out struct{ Data []string }
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		s.t.Fatal(err)
	}
	return out.Data
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(60 * time.Second); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

var variables = strings.NewReplacer("$__rate_interval", "5s", "$table", ".*", "$instance", ".*")

// TestScrape: a real Prometheus watches a real cluster. What the daemons say passes Prometheus' linter, every panel of the
// dashboard has something to show, every metric in an alert exists, and a healthy cluster raises no alert.
func TestScrape(t *testing.T) {
	promtool := program(t, "promtool")
	c := onebox.Start(t, onebox.Options{})
	stop := load(t, c)
	defer stop()
	for _, n := range append(c.Metas(), c.Replicas()...) {
		paths := []string{"/metrics"}
		if slices.Contains(c.Replicas(), n) {
			paths = append(paths, "/metrics/partitions")
		}
		for _, path := range paths {
			text, err := get("http://" + n + path)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(promtool, "check", "metrics")
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("promtool check metrics of %s: %v\n%s", n+path, err, out)
			}
		}
	}
	p := startPrometheus(t, c.Metas(), c.Replicas())
	eventually(t, "all daemons are scraped", func() bool {
		up, err := p.results(`up == 1`)
		return err == nil && up == len(c.Metas())+len(c.Replicas())
	})
	// These show nothing as long as nothing is wrong; their metrics are looked for below.
	quiet := []string{"Errors", "Age of the snapshot"}
	for title, queries := range dashboard(t) {
		for _, q := range queries {
			q = variables.Replace(q)
			if _, err := p.results(q); err != nil {
				t.Errorf("%s: %v", title, err)
			}
			if slices.Contains(quiet, title) || strings.Contains(q, "> 0") {
				continue
			}
			eventually(t, "panel "+title+" has data: "+q, func() bool {
				n, err := p.results(q)
				return err == nil && n > 0
			})
		}
	}
	known := p.names()
	for _, m := range regexp.MustCompile(`\bpegasus_\w+`).FindAllString(strings.Join(expressions(t), "\n"), -1) {
		if m != "pegasus_requests_failed_total" && !slices.Contains(known, m) { // there was no failure
			t.Errorf("no metric %s, which an alert looks at", m)
		}
	}
	if n, err := p.results(`ALERTS{alertname!="PegasusDiskFilling",alertstate="firing"}`); err != nil || n > 0 {
		body, _ := get(p.url + "/api/v1/alerts")
		t.Errorf("%d alerts, %v: %s", n, err, body)
	}
}

// expressions are the queries of the alerts.
func expressions(t *testing.T) (list []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^\s+expr: (.+)$`).FindAllStringSubmatch(read(t, "alerts.yml"), -1) {
		list = append(list, m[1])
	}
	return list
}

// load sets and gets until stop is called.
func load(t *testing.T, c *onebox.Cluster) (stop func()) {
	t.Helper()
	client, err := clientlib.Dial(clientlib.Options{Metas: c.Metas()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	table, err := client.OpenTable(ctx, "temp")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			key := fmt.Appendf(nil, "key%d", i%100)
			if err := table.Set(ctx, key, []byte("s"), []byte("value")); err != nil {
				continue // the test notices when nothing is served
			}
			_, _ = table.Get(ctx, key, []byte("s"))
		}
	}()
	return func() {
		cancel()
		<-done
		client.Close()
	}
}
