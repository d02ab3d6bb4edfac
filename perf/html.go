package perf

import (
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
	"time"
)

// Suite is a set of measurements that belong together.
type Suite struct {
	Title   string    `json:"title"`
	Reports []*Report `json:"reports"`
}

// Groups of measurements, as the part of Report.Name before the colon. The rest names a curve or a bar.
const (
	GroupDepth = "depth" // closed loads of rising depth
	GroupRate  = "rate"  // open loads of rising rate
	GroupMix   = "mix"   // one measurement per workload
)

func (s *Suite) group(name string) (out []*Report) {
	for _, r := range s.Reports {
		if strings.HasPrefix(r.Name, name+":") {
			out = append(out, r)
		}
	}
	return out
}

func (r *Report) label() string {
	_, label, _ := strings.Cut(r.Name, ":")
	return label
}

// curves makes a curve per label out of the reports of a group.
func curves(reports []*Report, x, y func(*Report) float64) (out []curve) {
	for _, r := range reports {
		i := slices.IndexFunc(out, func(c curve) bool { return c.name == r.label() })
		if i < 0 {
			i = len(out)
			out = append(out, curve{name: r.label()})
		}
		out[i].x, out[i].y = append(out[i].x, x(r)), append(out[i].y, y(r))
	}
	return out
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// WriteHTML writes one page that needs nothing else: a table of all measurements, and plots as SVG.
func (s *Suite) WriteHTML(w io.Writer) error {
	var b strings.Builder
	b.WriteString("<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + html.EscapeString(s.Title) + "</title><style>" +
		"body{font:14px sans-serif;margin:2em;max-width:75em}table{border-collapse:collapse}td,th{padding:.2em .6em;text-align:right;" +
		"border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}svg{margin:.5em}svg text{font:11px sans-serif}" +
		"</style></head><body><h1>" + html.EscapeString(s.Title) + "</h1>")
	if len(s.Reports) > 0 {
		r := s.Reports[0]
		fmt.Fprintf(&b, "<p>%s, %d CPUs, kernel %s, %s.</p>", r.Started.Format("2006-01-02 15:04 UTC"), r.Machine.CPUs,
			html.EscapeString(r.Machine.Kernel), html.EscapeString(r.Machine.Go))
		for _, server := range r.Servers {
			fmt.Fprintf(&b, "<p>%s: %s</p>", html.EscapeString(server.Address), html.EscapeString(server.Version))
		}
	}
	depth := func(r *Report) float64 { return float64(r.Depth) }
	throughput := func(r *Report) float64 { return r.PerSec }
	cpu := func(r *Report) float64 { return r.ServerUSPerOp }
	if g := s.group(GroupDepth); len(g) > 0 {
		plot{title: "throughput over depth", x: "requests in flight", y: "operations per second", logX: true}.draw(&b, curves(g, depth, throughput))
		plot{title: "server CPU per operation over depth", x: "requests in flight", y: "microseconds", logX: true, logY: true}.draw(&b, curves(g, depth, cpu))
	}
	if g := s.group(GroupRate); len(g) > 0 {
		for _, q := range []struct {
			name string
			of   func(Latencies) time.Duration
		}{
			{"median", func(l Latencies) time.Duration { return l.P50 }},
			{"99th percentile", func(l Latencies) time.Duration { return l.P99 }},
			{"99.9th percentile", func(l Latencies) time.Duration { return l.P999 }},
		} {
			plot{title: q.name + " latency over load (open loop)", x: "operations per second", y: "microseconds", logY: true}.
				draw(&b, curves(g, throughput, func(r *Report) float64 { return microseconds(q.of(r.All)) }))
		}
	}
	if g := s.group(GroupMix); len(g) > 0 {
		drawBars(&b, "server CPU per operation (microseconds)", g, cpu)
		drawBars(&b, "operations per second", g, throughput)
	}
	s.table(&b)
	b.WriteString("</body></html>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// columns of the table, in text and HTML.
var columns = []struct {
	name string
	of   func(r *Report) string
}{
	{"measurement", func(r *Report) string { return r.Name }},
	{"in flight", func(r *Report) string { return fmt.Sprint(r.Conns * r.Depth) }},
	{"rate", func(r *Report) string { return fmt.Sprintf("%.0f", r.Rate) }},
	{"ops/s", func(r *Report) string { return fmt.Sprintf("%.0f", r.PerSec) }},
	{"p50 us", func(r *Report) string { return fmt.Sprintf("%.0f", microseconds(r.All.P50)) }},
	{"p90 us", func(r *Report) string { return fmt.Sprintf("%.0f", microseconds(r.All.P90)) }},
	{"p99 us", func(r *Report) string { return fmt.Sprintf("%.0f", microseconds(r.All.P99)) }},
	{"p99.9 us", func(r *Report) string { return fmt.Sprintf("%.0f", microseconds(r.All.P999)) }},
	{"max us", func(r *Report) string { return fmt.Sprintf("%.0f", microseconds(r.All.Max)) }},
	{"servers us/op", func(r *Report) string { return fmt.Sprintf("%.2f", r.ServerUSPerOp) }},
	{"client us/op", func(r *Report) string { return fmt.Sprintf("%.2f", r.Client.USPerOp) }},
	{"switches/op", func(r *Report) string { return fmt.Sprintf("%.2f", r.SwitchesPerOp) }},
	{"syncs/op", func(r *Report) string { return fmt.Sprintf("%.3f", r.SyncsPerOp) }},
	{"disk B/user B", func(r *Report) string { return fmt.Sprintf("%.2f", r.WrittenPerByte) }},
	{"allocs/op", func(r *Report) string { return fmt.Sprintf("%.2f", r.AllocsPerOp) }},
	{"gc %", func(r *Report) string { return fmt.Sprintf("%.1f", r.GCShare*100) }},
	{"rss MB", func(r *Report) string { return fmt.Sprintf("%.0f", float64(r.RSS)/1e6) }},
	{"failed", func(r *Report) string { return fmt.Sprint(r.Failed) }},
}

func (s *Suite) table(b *strings.Builder) {
	b.WriteString("<table><tr>")
	for _, c := range columns {
		b.WriteString("<th>" + html.EscapeString(c.name) + "</th>")
	}
	b.WriteString("</tr>")
	for _, r := range s.Reports {
		b.WriteString("<tr>")
		for _, c := range columns {
			b.WriteString("<td>" + html.EscapeString(c.of(r)) + "</td>")
		}
		b.WriteString("</tr>")
	}
	b.WriteString("</table>")
}

// Header names the columns of Row.
func Header() (out []string) {
	for _, c := range columns {
		out = append(out, c.name)
	}
	return out
}

// Row is the report as a line of a table.
func (r *Report) Row() (out []string) {
	for _, c := range columns {
		out = append(out, c.of(r))
	}
	return out
}
