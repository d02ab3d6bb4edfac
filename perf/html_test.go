package perf

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

func report(name string, depth int, rate, perSec, cpu float64, p50 time.Duration) *Report {
	return &Report{
		Name: name, Conns: 1, Depth: depth, Rate: rate, PerSec: perSec, ServerUSPerOp: cpu, Machine: Machine{CPUs: 2},
		All: Latencies{P50: p50, P99: 3 * p50, P999: 9 * p50}, Servers: []Server{{Address: "a:1", Version: "<v&1>"}},
	}
}

// The page is well-formed, has a plot for every view, shows what it was given, and refers to nothing outside.
func TestHTML(t *testing.T) {
	s := Suite{Title: "a <suite>", Reports: []*Report{
		report("depth:get", 1, 0, 1000, 20, time.Millisecond), report("depth:get", 64, 0, 9000, 5, 2*time.Millisecond),
		report("depth:put", 1, 0, 500, 200, time.Millisecond), report("depth:put", 64, 0, 2000, 0, time.Millisecond),
		report("rate:get", 64, 1000, 1000, 10, time.Millisecond), report("rate:get", 64, 5000, 5000, 8, 5*time.Millisecond),
		report("rate:put", 64, 100, 100, 10, time.Millisecond), report("rate:put", 64, 500, 500, 8, 5*time.Millisecond),
		report("size:get", 64, 0, 1000, 10, time.Millisecond), report("size:get", 64, 0, 500, 80, time.Millisecond),
		report("partitions:get", 64, 0, 1000, 10, time.Millisecond),
		report("mix:ycsb-a", 64, 0, 4321, 30, time.Millisecond),
	}}
	s.Notes = []string{"a <note>"}
	s.Reports[0].Processes = []ProcessReport{{Name: "replica<1>", CPU: CPU{User: 3 * time.Second, Sys: time.Second}}}
	s.Reports[0].Ops = 1_000_000
	var out strings.Builder
	if err := s.WriteHTML(&out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	d := xml.NewDecoder(strings.NewReader(strings.Replace(text, `<meta charset="utf-8">`, "", 1)))
	d.Strict = true
	d.Entity = xml.HTMLEntity
	plots := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		start, ok := token.(xml.StartElement)
		if ok && start.Name.Local == "svg" {
			plots++
		}
		for _, a := range start.Attr {
			if a.Name.Local == "src" || a.Name.Local == "href" {
				t.Errorf("%s refers to %s", start.Name.Local, a.Value)
			}
		}
	}
	// Two over depth, latency of two operations over load, three over value size, two over partitions, two of bars.
	if plots != 11 {
		t.Errorf("%d plots, want 11", plots)
	}
	for _, want := range []string{"a &lt;suite&gt;", "&lt;v&amp;1&gt;", ">4321<", "ycsb-a", "<title>get: 64, 9000</title>", "<title>p99.9: 500, 45k</title>",
		"a &lt;note&gt;", "replica&lt;1&gt;", "<td>3.00 + 1.00</td>"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Error("a number that is none")
	}
}

func TestAxis(t *testing.T) {
	a := axis{from: 0, to: 100}
	a.fit([]float64{10, 50})
	if a.at(0) != 0 || a.at(50) != 100 || a.at(25) != 50 {
		t.Errorf("%+v", a)
	}
	if ticks := a.ticks(); len(ticks) != 6 || ticks[1] != 10 {
		t.Errorf("ticks %v", ticks)
	}
	l := axis{log: true, from: 0, to: 100}
	l.fit([]float64{0, 3, 700})
	if l.at(1) != 0 || l.at(1000) != 100 || len(l.ticks()) != 4 {
		t.Errorf("%+v, ticks %v", l, l.ticks())
	}
	for _, values := range [][]float64{nil, {0}, {5, 5}} {
		e := axis{from: 0, to: 1}
		if e.fit(values); math.IsNaN(e.at(1)) || e.low >= e.high || len(e.ticks()) > 20 {
			t.Errorf("%v: %+v", values, e)
		}
	}
}
