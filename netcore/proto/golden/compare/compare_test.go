package compare

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"pegasus/netcore/proto/golden"
)

// recorded learns the names of the recorded cluster from the recordings themselves: wherever the normalised form has a
// label, the raw one has the id or address. A contradiction is an error of the decoder.
type recorded struct {
	apps  map[int32]string
	addrs map[string]string
}

func (r *recorded) AppLabel(id int32) string   { return r.apps[id] }
func (r *recorded) Address(text string) string { return r.addrs[text] }

// learn walks the normalised and the raw form side by side. It returns the time of sending if a relative time tells it.
func (r *recorded) learn(want, raw any, now *int64) error {
	switch w := want.(type) {
	case map[string]any:
		m, ok := raw.(map[string]any)
		for k := range w {
			if ok {
				if err := r.learn(w[k], m[k], now); err != nil {
					return fmt.Errorf("%s: %w", k, err)
				}
			}
		}
	case []any:
		l, ok := raw.([]any)
		for i := range w {
			if ok && i < len(l) {
				if err := r.learn(w[i], l[i], now); err != nil {
					return err
				}
			}
		}
	case string:
		if label, ok := strings.CutPrefix(w, "$app:"); ok {
			id, err := asInt(raw)
			if old := r.apps[int32(id)]; err != nil || old != "" && old != label {
				return fmt.Errorf("app id %v is %s and %s", raw, old, label)
			}
			r.apps[int32(id)] = label
			return nil
		}
		if w == "$replica" || w == "$meta" {
			text, ok := raw.(string)
			if old := r.addrs[text]; !ok || old != "" && old != w {
				return fmt.Errorf("address %v is %s and %s", raw, old, w)
			}
			r.addrs[text] = w
			return nil
		}
		if kind, delta, ok := relative(w); ok {
			at, err := asInt(raw)
			if err != nil {
				return err
			}
			if *now = at - delta; kind == nowPrefix {
				*now += expireEpoch
			}
		}
	}
	return nil
}

// Every recorded raw reply decodes and normalises to the recorded normal form.
func TestRecordedReplies(t *testing.T) {
	cases, err := golden.Load()
	if err != nil {
		t.Fatal(err)
	}
	clusters := map[bool]*recorded{}
	for _, late := range []bool{false, true} { // suites 01-06 and 07-10 were recorded on two clusters
		clusters[late] = &recorded{apps: map[int32]string{}, addrs: map[string]string{}}
	}
	steps := 0
	for pass := range 2 { // the first pass learns names
		for i := range cases {
			names := clusters[cases[i].Suite >= "07"]
			for j := range cases[i].Steps {
				s := &cases[i].Steps[j]
				if s.Outcome() != golden.OutcomeReply || s.ResponseHex == "" {
					continue
				}
				frame, err := golden.Expand(s.ResponseHex)
				if err != nil {
					t.Fatalf("%s: %v", s, err)
				}
				native := s.Framing == golden.FramingRDSN
				if n, err := FrameLen(native, frame); n != len(frame) || err != nil {
					t.Errorf("%s: frame of %d bytes has length %d, %v", s, len(frame), n, err)
				}
				got, err := Reply(native, s.RPC, frame)
				if err != nil {
					t.Errorf("%s: %v", s, err)
					continue
				}
				if seq, err := Seqid(native, frame); err != nil || seq != s.Seqid {
					t.Errorf("%s: seqid %d, want %d (%v)", s, seq, s.Seqid, err)
				}
				now := time.Now().Unix()
				if err := names.learn(s.Response, got, &now); err != nil {
					t.Errorf("%s: %v", s, err)
				}
				if pass == 1 {
					steps++
					Normalise(got, time.Unix(now, 0), names)
					for _, line := range Diff(s, got) {
						t.Errorf("%s: %s", s, line)
					}
				}
			}
		}
	}
	if steps < 1000 {
		t.Errorf("only %d replies", steps)
	}
}

// A cut reply and a reply with any one byte changed must never panic; a cut one is an error unless nothing but the body
// is missing.
func TestDamagedReplies(t *testing.T) {
	cases, err := golden.Load("01", "08", "09")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i := range cases {
		for j := range cases[i].Steps {
			s := &cases[i].Steps[j]
			if key := s.RPC + string(s.Framing); s.ResponseHex == "" || seen[key] {
				continue
			} else {
				seen[key] = true
			}
			frame, err := golden.Expand(s.ResponseHex)
			if err != nil {
				t.Fatal(err)
			}
			native := s.Framing == golden.FramingRDSN
			for at := range min(len(frame), 400) {
				if _, err := Reply(native, s.RPC, frame[:at]); err == nil && !native {
					t.Errorf("%s: cut at %d of %d decodes", s, at, len(frame))
				}
				was := frame[at]
				for _, b := range []byte{0, 0x7f, 0xff} {
					frame[at] = b
					_, _ = Reply(native, s.RPC, frame)
					_, _ = Seqid(native, frame)
				}
				frame[at] = was
			}
		}
	}
}

func TestDiff(t *testing.T) {
	parse := func(text string) map[string]any {
		var m map[string]any
		dec := json.NewDecoder(strings.NewReader(text))
		dec.UseNumber()
		if err := dec.Decode(&m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	step := golden.Step{
		Volatile:  []string{"body.infos.*.stamp", "body.gone"},
		Tolerance: map[string]int64{"body.ttl_seconds": 5},
		Response: parse(`{"body":{"ttl_seconds":100,"when":"unix_now-2","server":"a","gone":1,
			"infos":[{"stamp":1,"n":1},{"stamp":2,"n":2}],"map":{"1":0}}}`),
	}
	equal := `{"body":{"ttl_seconds":95,"when":"unix_now+3","server":"b",
		"infos":[{"stamp":8,"n":1},{"n":2}],"map":{"1":0}}}`
	if lines := Diff(&step, parse(equal)); lines != nil {
		t.Errorf("differences: %q", lines)
	}
	for _, tc := range []struct{ old, new, want string }{
		{`"ttl_seconds":95`, `"ttl_seconds":94`, "body.ttl_seconds: want 100, got 94"},
		{`"ttl_seconds":95`, `"ttl_seconds":-1`, "body.ttl_seconds: want 100, got -1"},
		{`unix_now+3`, `unix_now+4`, `body.when: want "unix_now-2", got "unix_now+4"`},
		{`unix_now+3`, `now-2`, `body.when: want "unix_now-2", got "now-2"`},
		{`"n":2`, `"n":3`, "body.infos.1.n: want 2, got 3"},
		{`"n":2`, `"n":"2"`, `body.infos.1.n: want 2, got "2"`},
		{`,{"n":2}`, ``, "body.infos: want 2 elements, got 1"},
		{`{"1":0}`, `{}`, "body.map.1: want 0, got nothing"},
		{`{"1":0}`, `{"1":0,"2":0}`, "body.map.2: want nothing, got 0"},
		{`{"1":0}`, `[]`, "body.map: want {"},
	} {
		lines := Diff(&step, parse(strings.Replace(equal, tc.old, tc.new, 1)))
		if len(lines) != 1 || !strings.HasPrefix(lines[0], tc.want) {
			t.Errorf("%s instead of %s: got %q, want %q", tc.new, tc.old, lines, tc.want)
		}
	}
}

func TestHTTP(t *testing.T) {
	names := &recorded{addrs: map[string]string{"127.0.0.1:34801": "$replica"}}
	got, err := HTTP(&http.Response{
		StatusCode: 200,
		Header:     http.Header{"Content-Type": {"text/plain"}, "Date": {"today"}, "Content-Length": {"1"}},
		Body:       io.NopCloser(strings.NewReader(`{"12":{"1.2":true},"127.0.0.1:34801":[1,2],"n":null,"e":[]}`)),
	}, names)
	if err != nil {
		t.Fatal(err)
	}
	delete(got, "text")
	raw, err := json.Marshal(got)
	want := `{"content_type":"text/plain","headers":["Content-Type"],"outcome":"reply",` +
		`"shape":{"$replica":["number"],"\u003cint\u003e":{"\u003cgpid\u003e":"bool"},"e":[],"n":"null"},"status":200}`
	if err != nil || string(raw) != want {
		t.Errorf("got %s, %v\nwant %s", raw, err, want)
	}
}

func TestCut(t *testing.T) {
	if got := cut([]byte(strings.Repeat("x", 1500))); len(got) != 1500 {
		t.Errorf("1500 bytes became %d", len(got))
	}
	if got := cut([]byte(strings.Repeat("x", 1501))); got != strings.Repeat("x", 1500)+"...(1501 bytes)" {
		t.Errorf("1501 bytes became %q", got)
	}
}

// The recorded shapes are the skeletons of the recorded texts.
func TestRecordedShapes(t *testing.T) {
	cases, err := golden.Load("10")
	if err != nil {
		t.Fatal(err)
	}
	for i := range cases {
		for j := range cases[i].Steps {
			s := &cases[i].Steps[j]
			text, _ := s.Response["text"].(string)
			if strings.HasSuffix(text, " bytes)") { // cut by the recorder
				continue
			}
			want, wantOK := s.Response["shape"]
			got, ok := shape([]byte(text), &recorded{})
			if ok != wantOK || ok && !Same(want, got) {
				t.Errorf("%s: shape %v, want %v of %.200s", s, got, want, text)
			}
		}
	}
}
