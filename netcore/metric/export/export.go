// Package export shows metrics to machines: in the text format of Prometheus, and in the JSON of Apache Pegasus' /metrics. It
// knows no metric; a daemon hands it names and figures, which it has collected before.
//
// Two kinds of metrics are kept apart. What lives as long as the process (loops, logs, the runtime) goes through a tally scope
// with tally's Prometheus reporter: a handle each, set once a second. What comes and goes (tables, replicas, the leader's view of
// the cluster) and what is a histogram is handed over as a whole at every scrape, see Families. Tally v4.1.17 can have neither,
// which TestWhatTallyCannot shows:
//
//   - Nothing that it has shown ever leaves. Closing a scope drops the scope's own handles (scope.go, clearMetrics); its Prometheus
//     reporter has no call to take a metric or a label value back, and keeps every vector registered (prometheus/reporter.go). A
//     series of a replica that has moved away, with its last value, is a lie.
//   - A histogram is reported as so many observations of the upper bound of a bucket, one at a time (reporter.go, ReportSamples):
//     the sum is wrong by up to the width of a bucket, and a million requests per second are a million calls. Ours are counted
//     already, with their sum.
package export

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"
	"github.com/uber-go/tally/v4"
	reporter "github.com/uber-go/tally/v4/prometheus"
)

// ContentType is that of Text.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// flushInterval is how often tally hands what was set to Prometheus' registry.
const flushInterval = time.Second

// Exporter holds the metrics of a process. Its methods may be called from any goroutine, those of one handle from one at a time.
type Exporter struct {
	registry *prometheus.Registry
	reporter reporter.Reporter
	scope    tally.Scope
	closer   io.Closer
}

// New returns an exporter with the figures of the Go runtime and of the process. Close ends its goroutine.
func New() *Exporter {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	e := &Exporter{registry: r, reporter: reporter.NewReporter(reporter.Options{Registerer: r})}
	e.scope, e.closer = tally.NewRootScope(tally.ScopeOptions{
		CachedReporter: e.reporter, Separator: reporter.DefaultSeparator, SanitizeOptions: &reporter.DefaultSanitizerOpts,
		OmitCardinalityMetrics: true,
	}, flushInterval)
	return e
}

// Close ends the reporting.
func (e *Exporter) Close() error { return e.closer.Close() }

// Counter is a handle to a metric that only grows.
type Counter struct {
	c    tally.Counter
	last uint64
}

// Set tells the total. A smaller one than before, of something that has begun anew, is added.
func (c *Counter) Set(total uint64) {
	grown := total - c.last
	if total < c.last {
		grown = total
	}
	c.last = total
	c.c.Inc(int64(grown))
}

// Gauge is a handle to a metric that goes up and down.
type Gauge struct{ g tally.Gauge }

// Set tells the value.
func (g Gauge) Set(v float64) { g.g.Update(v) }

// Counter returns the handle of a counter, whose name ends in _total. The label names must be the same for all counters of
// that name; labels are pairs of name and value.
func (e *Exporter) Counter(name, help string, labels ...string) *Counter {
	tags := pairs(name, labels)
	if _, err := e.reporter.RegisterCounter(name, names(tags), help); err != nil {
		panic(fmt.Sprintf("BUG: counter %s: %v", name, err))
	}
	return &Counter{c: e.scope.Tagged(tags).Counter(name)}
}

// Gauge returns the handle of a gauge, as Counter does.
func (e *Exporter) Gauge(name, help string, labels ...string) Gauge {
	tags := pairs(name, labels)
	if _, err := e.reporter.RegisterGauge(name, names(tags), help); err != nil {
		panic(fmt.Sprintf("BUG: gauge %s: %v", name, err))
	}
	return Gauge{e.scope.Tagged(tags).Gauge(name)}
}

func pairs(name string, labels []string) map[string]string {
	if len(labels)%2 != 0 {
		panic("BUG: odd labels of " + name)
	}
	m := make(map[string]string, len(labels)/2)
	for i := 0; i < len(labels); i += 2 {
		m[labels[i]] = labels[i+1]
	}
	return m
}

func names(tags map[string]string) []string { return slices.Sorted(maps.Keys(tags)) }

// Text is everything in the text format of Prometheus, with what fill adds, if anything.
func (e *Exporter) Text(fill func(*Families)) ([]byte, error) {
	all, err := e.registry.Gather()
	if err != nil {
		return nil, err
	}
	if fill != nil {
		f := newFamilies()
		fill(f)
		extra, err := f.gather()
		if err != nil {
			return nil, err
		}
		all = append(all, extra...)
	}
	slices.SortFunc(all, func(a, b *metricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	var out bytes.Buffer
	enc := expfmt.NewEncoder(&out, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range all {
		if err := enc.Encode(f); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}
