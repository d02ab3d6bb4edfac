package proto

import "testing"

// A glance tells the same as parsing does, as soon as a frame is all there.
func TestGlance(t *testing.T) {
	req := &Request{Framing: FramingRDSN}
	v0 := getFrame()
	native := nativeFrame("body")
	for name, c := range map[string]struct {
		frame  []byte
		native bool
		want   bool
	}{
		"v0": {v0, false, true}, "native": {native, true, true}, "v1": {v1Frame(v1Meta(), v0[thft0HeaderLen:]), false, false},
	} {
		parse := ParseTHFT
		if c.native {
			parse = ParseRDSN
		}
		if n, _, err := parse(c.frame, 1<<20, req); n != len(c.frame) || err != nil {
			t.Fatalf("%s: does not parse: %d, %v", name, n, err)
		}
		g, n := Glance(append(c.frame[:len(c.frame):len(c.frame)], "more"...), c.native)
		if c.want && (g != req.GPID || n != len(c.frame)) || !c.want && n != 0 {
			t.Errorf("%s: %v in %d bytes, want %v in %d", name, g, n, req.GPID, len(c.frame))
		}
		for i := range c.frame {
			if _, n := Glance(c.frame[:i], c.native); n != 0 {
				t.Fatalf("%s: %d of %d bytes make a frame of %d", name, i, len(c.frame), n)
			}
		}
	}
}

func TestGlanceRepl(t *testing.T) {
	var in []byte
	for _, m := range replSamples() {
		in = AppendReplMessage(in, &m)
	}
	for _, m := range replSamples() {
		g, n := GlanceRepl(in)
		if g != m.GPID || n != ReplMessageLen(&m) {
			t.Fatalf("%v: %v in %d bytes, want %v in %d", m.Type, g, n, m.GPID, ReplMessageLen(&m))
		}
		for i := range n {
			if _, n := GlanceRepl(in[:i]); n != 0 {
				t.Fatalf("%v: %d bytes make a message of %d", m.Type, i, n)
			}
		}
		in = in[n:]
	}
	if _, n := GlanceRepl(in); n != 0 {
		t.Errorf("nothing makes a message of %d bytes", n)
	}
}
