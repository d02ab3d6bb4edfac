package export

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/uber-go/tally/v4"
	reporter "github.com/uber-go/tally/v4/prometheus"

	"pegasus/netcore/httpfront"
	"pegasus/netcore/metric"
)

func TestText(t *testing.T) {
	e := New()
	c := e.Counter("x_total", "Some x.", "of", "a")
	other := e.Counter("x_total", "Some x.", "of", "b")
	g := e.Gauge("y", "Some y.")
	c.Set(5)
	c.Set(7)
	c.Set(3) // it has begun anew
	other.Set(1)
	g.Set(2.5)
	var h metric.Histogram
	for _, v := range []int64{10, 1000, 5000, 1 << 40} {
		h.Record(v)
	}
	fill := func(f *Families) {
		f.Histogram("h_seconds", "Some h.", &h, 1e-9, 9, 11, "k", "v")
		f.Summary("s_seconds", "Some s.", &h, PercentilesOf(&h), 1e-9)
		f.Counter("z_total", "Some z.", 4, "k", "1")
		f.Counter("z_total", "Some z.", 5, "k", "2")
		f.Gauge("a", "Some a.", -1)
	}
	deadline := time.Now().Add(20 * time.Second)
	var text string
	for !strings.Contains(text, "\ny 2.5\n") { // tally reports once a second
		if time.Now().After(deadline) {
			t.Fatal("never reported")
		}
		b, err := e.Text(fill)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	for _, want := range []string{
		`x_total{of="a"} 10`, `x_total{of="b"} 1`, "# TYPE x_total counter", "# HELP x_total Some x.",
		`h_seconds_bucket{k="v",le="5.12e-07"} 1`, `h_seconds_bucket{k="v",le="1.024e-06"} 2`, `h_seconds_bucket{k="v",le="2.048e-06"} 2`,
		`h_seconds_bucket{k="v",le="+Inf"} 4`, `h_seconds_count{k="v"} 4`, `s_seconds{quantile="0.5"}`, `z_total{k="2"} 5`, "\na -1\n", "go_goroutines",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if _, err := e.Text(func(f *Families) { f.Gauge("twice", "x", 1); f.Gauge("twice", "x", 2) }); err == nil {
		t.Error("the same series twice is no error")
	}
}

func TestQuery(t *testing.T) {
	entities := func(wanted func(string) bool) []Entity {
		var out []Entity
		if wanted("server") {
			out = append(out, Entity{Type: "server", ID: "server", Metrics: []Metric{{Name: "m", Type: "Gauge", Unit: "U", Desc: "D", Value: 3}}})
		}
		if wanted("replica") {
			p := Percentiles{1, 2, 3, 4, 5}
			for _, id := range []string{"1.0", "1.1", "2.0"} {
				out = append(out, Entity{
					Type: "replica", ID: "replica@" + id, Attributes: map[string]string{"table_id": id[:1], "partition_id": id[2:]},
					Metrics: []Metric{{Name: "n", Value: 7}, {Name: "l", Percentiles: &p}},
				})
			}
		}
		return out
	}
	for _, tc := range []struct {
		query  string
		status int
		want   string // the entities, or the error
	}{
		{"types=server", 200, `[{"type":"server","id":"server","attributes":{},"metrics":[{"name":"m","value":3}]}]`},
		{"types=server&detail=TRUE", 200, `[{"type":"server","id":"server","attributes":{},"metrics":[{"type":"Gauge","name":"m","unit":"U","desc":"D","value":3}]}]`},
		{"types=server&with_metric_fields=bogus", 200, `[{"type":"server","id":"server","attributes":{},"metrics":[{}]}]`},
		{"ids=replica@1.1&metrics=l", 200, `[{"type":"replica","id":"replica@1.1","attributes":{"partition_id":"1","table_id":"1"},"metrics":[{"name":"l","p50":1,"p90":2,"p95":3,"p99":4,"p999":5}]}]`},
		{"attributes=table_id,2,table_id,9&metrics=n", 200, `[{"type":"replica","id":"replica@2.0","attributes":{"partition_id":"0","table_id":"2"},"metrics":[{"name":"n","value":7}]}]`},
		{"metrics=no_such", 200, `[]`},
		{"types=no_such", 200, `[]`},
		{"bogus=1", 400, "unknown field bogus=1"},
		{"detail=maybe", 400, "the value of detail should be a boolean value, i.e. true or false"},
		{"attributes=table_id", 400, "the number of arguments for attributes should be even, since each attribute name always pairs with a value"},
	} {
		req := &httpfront.Request{Method: "GET", Target: "/metrics?" + tc.query}
		if !Wants(req) {
			t.Fatal("a query is taken for none")
		}
		r := Query(req, Process{Cluster: "c", Role: "meta", Host: "h", Port: 1}, entities)
		var out struct {
			Entities json.RawMessage `json:"entities"`
			Error    string          `json:"error_message"`
			Port     int             `json:"port"`
		}
		if err := json.Unmarshal(r.Body, &out); err != nil {
			t.Fatalf("%s: %v", tc.query, err)
		}
		got := out.Error
		if r.Status == 200 {
			var compact strings.Builder
			for _, line := range strings.Split(string(out.Entities), "\n") {
				compact.WriteString(strings.TrimSpace(line))
			}
			got = strings.ReplaceAll(compact.String(), `": `, `":`)
		}
		if r.Status != tc.status || got != tc.want {
			t.Errorf("%s: %d\n%s\nwant %d\n%s", tc.query, r.Status, got, tc.status, tc.want)
		}
	}
	if Wants(&httpfront.Request{Target: "/metrics"}) {
		t.Error("a plain request is taken for a query")
	}
}

// TestWhatTallyCannot holds the two reasons why tables, replicas and histograms do not go through tally, see the package comment.
// When it fails tally has learned something.
func TestWhatTallyCannot(t *testing.T) {
	r := prometheus.NewRegistry()
	root, closer := tally.NewRootScope(tally.ScopeOptions{
		CachedReporter: reporter.NewReporter(reporter.Options{Registerer: r}), OmitCardinalityMetrics: true,
	}, time.Millisecond)
	defer closer.Close()
	replica := root.Tagged(map[string]string{"partition": "1.0"})
	replica.Gauge("decree").Update(7)
	h := replica.Histogram("latency", tally.ValueBuckets{10, 100})
	for range 4 {
		h.RecordValue(11)
	}
	var decree, sum float64
	gather := func() (series int) {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			series += len(f.Metric)
			if f.GetName() == "decree" {
				decree = f.Metric[0].GetGauge().GetValue()
			} else {
				sum = f.Metric[0].GetHistogram().GetSampleSum()
			}
		}
		return series
	}
	waitFor(t, "both are reported", func() bool { return gather() == 2 && decree == 7 && sum > 0 })
	if sum != 4*100 {
		t.Errorf("the sum of four times 11 is %v", sum)
	}
	if err := replica.(io.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	// A scope that is asked for again is another one once the reporting has removed the closed one.
	waitFor(t, "the closed scope is removed", func() bool { return root.Tagged(map[string]string{"partition": "1.0"}) != replica })
	if n := gather(); n != 2 || decree != 7 {
		t.Errorf("%d series after the scope was closed, decree %v", n, decree)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
