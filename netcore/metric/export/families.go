package export

import (
	"fmt"
	"math"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"pegasus/netcore/metric"
)

type metricFamily = dto.MetricFamily

// Families are metrics that are made anew for every scrape. What is added twice under the same name and labels, or under the
// same name with other label names, makes the scrape fail.
type Families struct {
	descs   map[string]*prometheus.Desc
	metrics []prometheus.Metric
	bounds  []uint64
}

func newFamilies() *Families { return &Families{descs: map[string]*prometheus.Desc{}} }

// Describe implements prometheus.Collector: it says nothing, which means that anything may come.
func (f *Families) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (f *Families) Collect(out chan<- prometheus.Metric) {
	for _, m := range f.metrics {
		out <- m
	}
}

func (f *Families) gather() ([]*metricFamily, error) {
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(f); err != nil {
		return nil, err
	}
	return r.Gather()
}

// desc takes labels as pairs of name and value.
func (f *Families) desc(name, help string, labels []string) (d *prometheus.Desc, values []string) {
	if len(labels)%2 != 0 {
		panic("BUG: odd labels of " + name)
	}
	keys := make([]string, 0, len(labels)/2)
	for i := 0; i < len(labels); i += 2 {
		keys, values = append(keys, labels[i]), append(values, labels[i+1])
	}
	if d = f.descs[name]; d == nil {
		d = prometheus.NewDesc(name, help, keys, nil)
		f.descs[name] = d
	}
	return d, values
}

// Counter adds a total.
func (f *Families) Counter(name, help string, total float64, labels ...string) {
	f.constant(prometheus.CounterValue, name, help, total, labels)
}

// Gauge adds a value.
func (f *Families) Gauge(name, help string, value float64, labels ...string) {
	f.constant(prometheus.GaugeValue, name, help, value, labels)
}

func (f *Families) constant(t prometheus.ValueType, name, help string, v float64, labels []string) {
	d, values := f.desc(name, help, labels)
	m, err := prometheus.NewConstMetric(d, t, v, values...)
	f.add(m, name, err)
}

func (f *Families) add(m prometheus.Metric, name string, err error) {
	if err != nil {
		panic(fmt.Sprintf("BUG: metric %s: %v", name, err))
	}
	f.metrics = append(f.metrics, m)
}

// Histogram adds a histogram. One of its values is worth unit: 1e-9 makes seconds of nanoseconds. The buckets are the powers
// of two from 1<<first to 1<<last; a value that is equal to one counts in the bucket above it.
func (f *Families) Histogram(name, help string, h *metric.Histogram, unit float64, first, last int, labels ...string) {
	d, values := f.desc(name, help, labels)
	f.bounds = h.Below(f.bounds[:0], first, last)
	buckets := make(map[float64]uint64, len(f.bounds))
	for i, n := range f.bounds {
		// 1e-9 has no exact form in binary; rounding makes the label the short one.
		buckets[round(math.Ldexp(1, first+i)*unit)] = n
	}
	m, err := prometheus.NewConstHistogram(d, h.Count(), float64(h.Sum())*unit, buckets, values...)
	f.add(m, name, err)
}

func round(v float64) float64 {
	const digits = 1e12
	return math.Round(v*digits) / digits
}

// Quantiles are those of every Summary, and of the JSON of Apache Pegasus.
var Quantiles = [...]float64{0.5, 0.9, 0.95, 0.99, 0.999}

// Percentiles are the values at Quantiles.
type Percentiles [len(Quantiles)]int64

// PercentilesOf reads them off a histogram.
func PercentilesOf(h *metric.Histogram) (p Percentiles) {
	for i, q := range Quantiles {
		p[i] = h.Quantile(q)
	}
	return p
}

// Summary adds quantiles of something recent with the count and sum of all there was.
func (f *Families) Summary(name, help string, all *metric.Histogram, recent Percentiles, unit float64, labels ...string) {
	d, values := f.desc(name, help, labels)
	quantiles := make(map[float64]float64, len(Quantiles))
	for i, q := range Quantiles {
		quantiles[q] = round(float64(recent[i]) * unit)
	}
	m, err := prometheus.NewConstSummary(d, all.Count(), float64(all.Sum())*unit, quantiles, values...)
	f.add(m, name, err)
}
