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
	Notes   []string  `json:"notes,omitempty"` // what one has to know to read the figures
	Reports []*Report `json:"reports"`
}

// Groups of measurements, as the part of Report.Name before the colon. The rest names a curve or a bar.
const (
	GroupDepth      = "depth"      // closed loads of rising depth
	GroupRate       = "rate"       // open loads of rising rate
	GroupSize       = "size"       // closed loads of rising value size
	GroupPartitions = "partitions" // closed loads of tables with rising numbers of partitions, which Report.Partitions has
	GroupMix        = "mix"        // one measurement per workload
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

// style keeps two plots beside each other where there is room, and lets wide tables scroll.
const style = "body{font:14px sans-serif;margin:2em;max-width:1180px}div{overflow-x:auto}table{border-collapse:collapse;font-size:12px}" +
	"td,th{padding:.2em .5em;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}td:first-child,th:first-child{text-align:left}" +
	"svg{margin:.5em}svg text{font:11px sans-serif}"

// WriteHTML writes one page that needs nothing else: plots as SVG, and tables of all measurements.
func (s *Suite) WriteHTML(w io.Writer) error {
	var b strings.Builder
	b.WriteString("<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + html.EscapeString(s.Title) + "</title><style>" +
		style + "</style></head><body><h1>" + html.EscapeString(s.Title) + "</h1>")
	if len(s.Reports) > 0 {
		r := s.Reports[0]
		fmt.Fprintf(&b, "<p>%s, %d CPUs, kernel %s, %s.</p>", r.Started.Format("2006-01-02 15:04 UTC"), r.Machine.CPUs,
			html.EscapeString(r.Machine.Kernel), html.EscapeString(r.Machine.Go))
		for _, server := range r.Servers {
			fmt.Fprintf(&b, "<p>%s: %s</p>", html.EscapeString(server.Address), html.EscapeString(server.Version))
		}
	}
	for _, note := range s.Notes {
		b.WriteString("<p>" + html.EscapeString(note) + "</p>")
	}
	s.plots(&b)
	b.WriteString("<h2>All measurements</h2>")
	s.table(&b)
	b.WriteString("<h2>Server CPU by process, microseconds per operation (user + system)</h2>")
	s.processes(&b)
	b.WriteString("</body></html>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// plots draws every group that was measured.
func (s *Suite) plots(b *strings.Builder) {
	const cpuUnit = "server CPU microseconds per operation"
	depth := func(r *Report) float64 { return float64(r.Conns * r.Depth) }
	size := func(r *Report) float64 { return float64(r.Work.ValueSize) }
	partitions := func(r *Report) float64 { return float64(r.Partitions) }
	throughput := func(r *Report) float64 { return r.PerSec }
	cpu := func(r *Report) float64 { return r.ServerUSPerOp }
	p99 := func(r *Report) float64 { return microseconds(r.All.P99) }
	if g := s.group(GroupDepth); len(g) > 0 {
		b.WriteString("<h2>Closed loop: requests in flight</h2>")
		plot{title: "throughput over depth", x: "requests in flight", y: "operations per second", logX: true}.draw(b, curves(g, depth, throughput))
		plot{title: "server CPU per operation over depth", x: "requests in flight", y: cpuUnit, logX: true, logY: true}.draw(b, curves(g, depth, cpu))
	}
	if g := s.group(GroupRate); len(g) > 0 {
		b.WriteString("<h2>Open loop: latency over load, counted from when an operation was due</h2>")
		s.latencyPlots(b, g)
	}
	if g := s.group(GroupSize); len(g) > 0 {
		b.WriteString("<h2>Value size</h2>")
		plot{title: "throughput over value size", x: "bytes of a value", y: "operations per second", logX: true, logY: true}.draw(b, curves(g, size, throughput))
		plot{title: "server CPU per operation over value size", x: "bytes of a value", y: cpuUnit, logX: true, logY: true}.draw(b, curves(g, size, cpu))
		plot{title: "99th percentile latency over value size", x: "bytes of a value", y: "microseconds", logX: true, logY: true}.draw(b, curves(g, size, p99))
	}
	if g := s.group(GroupPartitions); len(g) > 0 {
		b.WriteString("<h2>Partitions of a table</h2>")
		plot{title: "server CPU per operation over partitions", x: "partitions", y: cpuUnit, logX: true, logY: true}.draw(b, curves(g, partitions, cpu))
		plot{title: "memory of all servers over partitions", x: "partitions", y: "resident megabytes", logX: true}.
			draw(b, curves(g, partitions, func(r *Report) float64 { return float64(r.RSS) / 1e6 }))
	}
	if g := s.group(GroupMix); len(g) > 0 {
		b.WriteString("<h2>Workloads</h2>")
		drawBars(b, cpuUnit, g, []string{"user", "system"}, func(r *Report) []float64 { return []float64{r.ServerUserUS, r.ServerSysUS} })
		drawBars(b, "operations per second", g, nil, func(r *Report) []float64 { return []float64{r.PerSec} })
	}
}

// latencyPlots draws percentiles over load, one plot per label: loads of different operations differ by more than an axis shows.
func (s *Suite) latencyPlots(b *strings.Builder, g []*Report) {
	for _, c := range curves(g, (*Report).perSec, (*Report).perSec) {
		lines := []curve{{name: "p50", x: c.x}, {name: "p90", x: c.x}, {name: "p99", x: c.x}, {name: "p99.9", x: c.x}}
		for _, r := range g {
			if r.label() != c.name {
				continue
			}
			for i, d := range []time.Duration{r.All.P50, r.All.P90, r.All.P99, r.All.P999} {
				lines[i].y = append(lines[i].y, microseconds(d))
			}
		}
		plot{title: "latency over load: " + c.name, x: "operations per second", y: "microseconds", logY: true}.draw(b, lines)
	}
}

func (r *Report) perSec() float64 { return r.PerSec }

// columns of the table, in text and HTML.
var columns = []struct {
	name string
	of   func(r *Report) string
}{
	{"measurement", func(r *Report) string { return r.Name }},
	{"value B", func(r *Report) string { return fmt.Sprint(r.Work.ValueSize) }},
	{"partitions", func(r *Report) string { return known(r.Partitions > 0, "%.0f", float64(r.Partitions)) }},
	{"in flight", func(r *Report) string { return fmt.Sprint(r.Conns * r.Depth) }},
	{"rate", func(r *Report) string { return known(r.Rate > 0, "%.0f", r.Rate) }},
	{"ops/s", func(r *Report) string { return fmt.Sprintf("%.0f", r.PerSec) }},
	{"p50 us", func(r *Report) string { return fmt.Sprintf("%.0f", microseconds(r.All.P50)) }},
	{"p90 us", func(r *Report) string { return fmt.Sprintf("%.0f", microseconds(r.All.P90)) }},
	{"p99 us", func(r *Report) string { return fmt.Sprintf("%.0f", microseconds(r.All.P99)) }},
	{"p99.9 us", func(r *Report) string { return fmt.Sprintf("%.0f", microseconds(r.All.P999)) }},
	{"max us", func(r *Report) string { return fmt.Sprintf("%.0f", microseconds(r.All.Max)) }},
	{"servers us/op", func(r *Report) string { return fmt.Sprintf("%.2f", r.ServerUSPerOp) }},
	{"user us/op", func(r *Report) string { return fmt.Sprintf("%.2f", r.ServerUserUS) }},
	{"sys us/op", func(r *Report) string { return fmt.Sprintf("%.2f", r.ServerSysUS) }},
	{"client us/op", func(r *Report) string { return fmt.Sprintf("%.2f", r.Client.USPerOp) }},
	{"switches/op", func(r *Report) string { return fmt.Sprintf("%.2f", r.SwitchesPerOp) }},
	{"syncs/op", func(r *Report) string { return known(r.counted(), "%.3f", r.SyncsPerOp) }},
	{"disk B/user B", func(r *Report) string { return known(r.UserBytes > 0, "%.2f", r.WrittenPerByte) }},
	{"allocs/op", func(r *Report) string { return known(r.counted(), "%.2f", r.AllocsPerOp) }},
	{"gc %", func(r *Report) string { return known(r.counted(), "%.1f", r.GCShare*100) }},
	{"rss MB", func(r *Report) string { return fmt.Sprintf("%.0f", float64(r.RSS)/1e6) }},
	{"failed", func(r *Report) string { return fmt.Sprint(r.Failed) }},
}

func (s *Suite) table(b *strings.Builder) {
	b.WriteString("<div><table><tr>")
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
	b.WriteString("</table></div>")
}

// processes writes a table of what every measurement cost each process.
func (s *Suite) processes(b *strings.Builder) {
	var names []string
	for _, r := range s.Reports {
		for i := range r.Processes {
			if name := r.Processes[i].Name; !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	b.WriteString("<div><table><tr><th>measurement</th>")
	for _, name := range names {
		b.WriteString("<th>" + html.EscapeString(name) + "</th>")
	}
	b.WriteString("</tr>")
	for _, r := range s.Reports {
		b.WriteString("<tr><td>" + html.EscapeString(r.Name) + "</td>")
		for _, name := range names {
			cell := "-"
			i := slices.IndexFunc(r.Processes, func(p ProcessReport) bool { return p.Name == name })
			if i >= 0 && r.Ops > 0 {
				cpu, ops := r.Processes[i].CPU, float64(r.Ops)
				cell = fmt.Sprintf("%.2f + %.2f", microseconds(cpu.User)/ops, microseconds(cpu.Sys)/ops)
			}
			b.WriteString("<td>" + cell + "</td>")
		}
		b.WriteString("</tr>")
	}
	b.WriteString("</table></div>")
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
