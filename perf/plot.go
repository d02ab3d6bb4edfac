package perf

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// curve is a line of a plot. x and y have the same length.
type curve struct {
	name string
	x, y []float64
}

// plot draws curves as SVG.
type plot struct {
	title, x, y string
	logX, logY  bool
}

// The size of a plot and its margins, in pixels.
const (
	plotWidth, plotHeight       = 560, 320
	marginLeft, marginRight     = 70, 20
	marginTop, marginBottom     = 44, 45
	titleAt, legendAt           = 16, 34
	innerWidth, innerHeight     = plotWidth - marginLeft - marginRight, plotHeight - marginTop - marginBottom
	barHeight, barGap, barLabel = 16, 4, 170
	legendChar, legendGap       = 7, 30 // of a letter at most, and between names
	ticksWanted                 = 6
	fewDecades                  = 2 // up to so many, there is room for labels between them
)

// Colours that people who see red and green alike can tell apart (Okabe and Ito).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}

// axis maps values to pixels.
type axis struct {
	low, high float64 // of the logarithm when log is set
	log       bool
	from, to  float64 // pixels
}

func (a *axis) at(v float64) float64 {
	if a.log {
		v = math.Log10(v)
	}
	return a.from + (v-a.low)/(a.high-a.low)*(a.to-a.from)
}

// fit makes the axis hold all values. A logarithmic one leaves out what is not positive.
func (a *axis) fit(values []float64) {
	a.low, a.high = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if a.log {
			if v <= 0 {
				continue
			}
			v = math.Log10(v)
		}
		a.low, a.high = min(a.low, v), max(a.high, v)
	}
	switch {
	case a.low > a.high:
		a.low, a.high = 0, 1
	case a.log:
		a.low, a.high = math.Floor(a.low), math.Ceil(a.high)
	default:
		a.low = min(a.low, 0)
	}
	if a.low == a.high {
		a.high++
	}
}

// ticks returns values for labels.
func (a *axis) ticks() (out []float64) {
	if a.log {
		for e := a.low; e <= a.high; e++ {
			out = append(out, math.Pow(10, e))
			if a.high-a.low <= fewDecades && e < a.high {
				out = append(out, 2*math.Pow(10, e), 5*math.Pow(10, e))
			}
		}
		return out
	}
	step := math.Pow(10, math.Floor(math.Log10((a.high-a.low)/ticksWanted)))
	for _, f := range []float64{1, 2, 5, 10} {
		if (a.high-a.low)/(step*f) <= ticksWanted {
			step *= f
			break
		}
	}
	for v := math.Ceil(a.low/step) * step; v <= a.high*(1+1e-9); v += step {
		out = append(out, v)
	}
	return out
}

// number writes a tick as short as possible.
func number(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.4gM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.4gk", v/1e3)
	}
	return fmt.Sprintf("%.4g", v)
}

func (p plot) draw(b *strings.Builder, cs []curve) {
	x := axis{log: p.logX, from: marginLeft, to: marginLeft + innerWidth}
	y := axis{log: p.logY, from: marginTop + innerHeight, to: marginTop}
	var xs, ys []float64
	for _, c := range cs {
		xs, ys = append(xs, c.x...), append(ys, c.y...)
	}
	x.fit(xs)
	y.fit(ys)
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" role="img">`, plotWidth, plotHeight)
	text := func(px, py float64, anchor, s string) {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, px, py, anchor, html.EscapeString(s))
	}
	line := func(x1, y1, x2, y2 float64, colour string) {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`, x1, y1, x2, y2, colour)
	}
	text(plotWidth/2, titleAt, "middle", p.title)
	text(marginLeft+innerWidth/2, plotHeight-8, "middle", p.x)
	fmt.Fprintf(b, `<text transform="translate(14 %d) rotate(-90)" text-anchor="middle">%s</text>`, marginTop+innerHeight/2, html.EscapeString(p.y))
	for _, v := range x.ticks() {
		line(x.at(v), y.from, x.at(v), y.to, "#eee")
		text(x.at(v), y.from+15, "middle", number(v))
	}
	for _, v := range y.ticks() {
		line(x.from, y.at(v), x.to, y.at(v), "#eee")
		text(x.from-5, y.at(v)+4, "end", number(v))
	}
	line(x.from, y.from, x.to, y.from, "#888")
	line(x.from, y.from, x.from, y.to, "#888")
	names := make([]string, len(cs))
	for i, c := range cs {
		names[i] = c.name
		colour := colours[i%len(colours)]
		var points strings.Builder
		for j := range c.x {
			if p.logX && c.x[j] <= 0 || p.logY && c.y[j] <= 0 {
				continue
			}
			px, py := x.at(c.x[j]), y.at(c.y[j])
			fmt.Fprintf(&points, "%.1f,%.1f ", px, py)
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: %s, %s</title></circle>`,
				px, py, colour, html.EscapeString(c.name), number(c.x[j]), number(c.y[j]))
		}
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="%s"/>`, colour, strings.TrimSpace(points.String()))
	}
	legend(b, marginLeft, names)
	b.WriteString("</svg>")
}

// legend writes the names of curves or parts of bars below the title, each in its colour.
func legend(b *strings.Builder, x int, names []string) {
	for i, name := range names {
		fmt.Fprintf(b, `<text x="%d" y="%d" fill="%s">● %s</text>`, x, legendAt, colours[i%len(colours)], html.EscapeString(name))
		x += legendChar*len(name) + legendGap
	}
}

// drawBars draws one bar per report, which has a part for every value that its figure consists of.
func drawBars(b *strings.Builder, title string, reports []*Report, names []string, parts func(*Report) []float64) {
	height := marginTop + len(reports)*(barHeight+barGap)
	x := axis{from: barLabel, to: plotWidth - 60}
	sums := make([]float64, len(reports))
	for i, r := range reports {
		for _, v := range parts(r) {
			sums[i] += v
		}
	}
	x.fit(sums)
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" role="img">`, plotWidth, height)
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`, plotWidth/2, titleAt, html.EscapeString(title))
	legend(b, barLabel, names)
	for i, r := range reports {
		top := marginTop + i*(barHeight+barGap)
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, barLabel-6, top+barHeight-4, html.EscapeString(r.label()))
		done := 0.0
		for k, v := range parts(r) {
			fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`, x.at(done), top, max(x.at(done+v)-x.at(done), 0), barHeight,
				colours[k%len(colours)])
			done += v
		}
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`, x.at(done)+4, top+barHeight-4, number(math.Round(done*100)/100))
	}
	b.WriteString("</svg>")
}
