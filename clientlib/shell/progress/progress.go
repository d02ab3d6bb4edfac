// Package progress tells people how far long work is: a bar with rate and time left, redrawn on one line of a terminal.
package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bar counts parts of known number and items of unknown number: partitions and records. It is safe for concurrent use.
type Bar struct {
	w       io.Writer // nil: counts only
	label   string
	total   int
	expect  atomic.Int64
	parts   atomic.Int64
	items   atomic.Int64
	started time.Time
	now     func() time.Time

	stop    chan struct{}
	stopped sync.WaitGroup
	drawn   bool
}

// interval is how often the bar is drawn.
const interval = 200 * time.Millisecond

// Start draws a bar on w until Stop; w is nil when nobody looks.
func Start(w io.Writer, label string, total int) *Bar {
	b := &Bar{w: w, label: label, total: total, started: time.Now(), now: time.Now, stop: make(chan struct{})}
	if w == nil {
		return b
	}
	b.stopped.Add(1)
	go func() {
		defer b.stopped.Done()
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-b.stop:
				return
			case <-tick.C:
				b.draw()
			}
		}
	}()
	return b
}

// Expect says about how many records there will be, which tells more than the parts do.
func (b *Bar) Expect(n int64) { b.expect.Store(n) }

// Items adds records.
func (b *Bar) Items(n int) { b.items.Add(int64(n)) }

// Count is how many records there were.
func (b *Bar) Count() int64 { return b.items.Load() }

// Part adds a part that is done.
func (b *Bar) Part() { b.parts.Add(1) }

// Elapsed is the time since Start.
func (b *Bar) Elapsed() time.Duration { return b.now().Sub(b.started) }

// Stop removes the bar from the terminal.
func (b *Bar) Stop() {
	close(b.stop)
	b.stopped.Wait()
	if b.drawn {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}

func (b *Bar) draw() {
	b.drawn = true
	// An error of the terminal will show in the output itself.
	_, _ = fmt.Fprint(b.w, "\r"+b.line()+"\x1b[K")
}

const width = 24

// line is the bar as text: the share of parts, the records with their rate, and the time left as far as can be told.
func (b *Bar) line() string {
	share := 1.0
	if b.total > 0 {
		share = min(float64(b.parts.Load())/float64(b.total), 1)
	}
	// An estimate may be short of the truth: all is done when all parts are.
	if n := b.expect.Load(); n > 0 && share < 1 {
		share = max(share, min(float64(b.items.Load())/float64(n), 0.99))
	}
	full := int(share * width)
	bar := strings.Repeat("=", full)
	if full < width {
		bar += ">" + strings.Repeat(" ", width-full-1)
	}
	elapsed := b.Elapsed().Seconds()
	rate := 0.0
	if elapsed > 0 {
		rate = float64(b.items.Load()) / elapsed
	}
	left := "time left unknown"
	if share > 0 {
		left = "left " + time.Duration(elapsed*(1-share)/share*float64(time.Second)).Round(time.Second).String()
	}
	return fmt.Sprintf("%s [%s] %3.0f%%  %d rows  %.0f/s  %s", b.label, bar, share*100, b.items.Load(), rate, left)
}
