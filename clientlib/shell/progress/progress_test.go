package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestLine(t *testing.T) {
	b := Start(nil, "scanning", 4)
	b.now = func() time.Time { return b.started.Add(10 * time.Second) }
	if got, want := b.line(), "scanning [>                       ]   0%  0 rows  0/s  time left unknown"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	b.Items(500)
	b.Part()
	if got, want := b.line(), "scanning [======>                 ]  25%  500 rows  50/s  left 30s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for range 3 {
		b.Part()
	}
	if got := b.line(); !strings.Contains(got, "[========================] 100%") || !strings.HasSuffix(got, "left 0s") {
		t.Errorf("%q", got)
	}
	b.Expect(1000) // all parts are done, whatever was expected
	if got := b.line(); !strings.Contains(got, "100%") {
		t.Errorf("%q", got)
	}
	half := Start(nil, "scanning", 4)
	half.now = func() time.Time { return half.started.Add(10 * time.Second) }
	half.Expect(1000)
	half.Items(500)
	if got, want := half.line(), "scanning [============>           ]  50%  500 rows  50/s  left 10s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	half.Items(1000)
	if got := half.line(); !strings.Contains(got, " 99%") {
		t.Errorf("more than expected: %q", got)
	}
	half.Stop()
	if b.Count() != 500 {
		t.Errorf("%d items", b.Count())
	}
	b.Stop()
}

func TestBarLeavesNoTrace(t *testing.T) {
	var out bytes.Buffer
	b := Start(&out, "x", 1)
	b.Stop()
	if out.Len() > 0 {
		t.Errorf("a bar that was never drawn printed %q", out.String())
	}
	b = Start(&out, "x", 1)
	b.Stop()
	b.draw()
	b.stop = make(chan struct{})
	b.Stop()
	if !strings.HasSuffix(out.String(), "\r\x1b[K") {
		t.Errorf("the line is not cleared: %q", out.String())
	}
}
