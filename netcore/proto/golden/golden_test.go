package golden

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

type fakeCluster map[string]int32

func (f fakeCluster) AppID(table string) (int32, error) {
	if id, ok := f[table]; ok {
		return id, nil
	}
	return 0, fmt.Errorf("no table %q", table)
}

func (f fakeCluster) ContextID(step int) int64 { return 1000 + int64(step) }

// creates tells whether a step of c creates the table.
func creates(c *Case, table string) bool {
	for i := range c.Steps {
		if s := &c.Steps[i]; s.RPC == "RPC_CM_CREATE_APP" && strings.Contains(string(s.Request), strconv.Quote(table)) {
			return true
		}
	}
	return false
}

// Every recorded frame unpacks, packs back to the same text, and has its patches inside.
func TestLoadAll(t *testing.T) {
	cases, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := Tables()
	if err != nil {
		t.Fatal(err)
	}
	apps := fakeCluster{}
	for i, tb := range tables {
		apps[tb.Name] = int32(i + 1)
	}
	seen := map[string]bool{}
	steps := 0
	for i := range cases {
		c := &cases[i]
		if seen[c.String()] {
			t.Errorf("%s: steps of the case are not consecutive", c)
		}
		seen[c.String()] = true
		for _, name := range c.Tables() {
			if apps[name] == 0 && !creates(c, name) {
				t.Errorf("%s: table %q is not in tables.json", c, name)
			}
			if apps[name] == 0 {
				apps[name] = int32(1000 + len(apps))
			}
		}
		for j := range c.Steps {
			s := &c.Steps[j]
			steps++
			if j > 0 && s.Step <= c.Steps[j-1].Step {
				t.Errorf("%s: out of order", s)
			}
			frame, err := s.Frame()
			if err != nil {
				t.Fatalf("%s: %v", s, err)
			}
			if got := Pack(frame); got != s.RequestHex {
				t.Errorf("%s: packs to %s", s, got)
			}
			if err := Apply(frame, s.Patches, time.Now(), apps); err != nil {
				t.Errorf("%s: %v", s, err)
			}
			switch s.Outcome() {
			case OutcomeReply, OutcomeNoReply, OutcomeClosed:
			default:
				t.Errorf("%s: outcome %q", s, s.Outcome())
			}
			if (s.HTTP != nil) != (s.Framing == FramingHTTP) {
				t.Errorf("%s: framing %s and http %v", s, s.Framing, s.HTTP)
			}
		}
	}
	if len(cases) < 100 || steps < 1000 {
		t.Errorf("only %d cases, %d steps", len(cases), steps)
	}
}

func TestLoadByNumber(t *testing.T) {
	byNumber, err := Load("03")
	if err != nil {
		t.Fatal(err)
	}
	byName, err := Load("03_bget_count")
	if err != nil {
		t.Fatal(err)
	}
	if len(byNumber) == 0 || len(byNumber) != len(byName) || byNumber[0].Suite != "03_bget_count" {
		t.Errorf("by number %d cases, by name %d", len(byNumber), len(byName))
	}
	if _, err := Load("99"); err == nil {
		t.Error("suite 99 loaded")
	}
}

func TestExpand(t *testing.T) {
	got, err := Expand("0102(ff*33)03(00*2)")
	want := append(append([]byte{1, 2}, bytes.Repeat([]byte{0xff}, 33)...), 3, 0, 0)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %x, %v", got, err)
	}
	for _, bad := range []string{"0", "zz", "(00", "(00*)", "(00*-1)", "(0*3)", "(0000*3)", "(00*99999999999)", "()"} {
		if got, err := Expand(bad); err == nil {
			t.Errorf("Expand(%q) = %x", bad, got)
		}
	}
}

func TestPatches(t *testing.T) {
	now := time.Unix(1700000000, 999e6)
	for _, tc := range []struct{ patch, want string }{
		{"1:4:app_id:t", "ff00000007ffffffffff"},
		{"1:4le:app_id:t", "ff07000000ffffffffff"},
		{"1:4:thread_hash:t:3", "ff0000d88cffffffffff"},
		{"1:8:gpid:t:3", "ff0000000300000007ff"},
		{"1:4:expire_ts:+10", "ff0ece2f8affffffffff"},
		{"1:8:unix_ts:+-1", ""},
		{"1:8:unix_ts:-1", "ff000000006553f0ffff"},
		{"1:8:unix_us:+1", "ff00060a24182d8240ff"},
		{"1:8:context_id:2", "ff00000000000003eaff"},
		{"1:4:app_id:other", ""},
		{"3:8:gpid:t:0", ""},
		{"1:5:app_id:t", ""},
		{"1:4:app_id:t:1", ""},
		{"-1:4:app_id:t", ""},
		{"1:4:colour:t", ""},
	} {
		frame := bytes.Repeat([]byte{0xff}, 10)
		p, err := ParsePatch(tc.patch)
		if err == nil {
			err = Apply(frame, []Patch{p}, now, fakeCluster{"t": 7})
		}
		switch {
		case tc.want == "" && err == nil:
			t.Errorf("%s: no error, frame %x", tc.patch, frame)
		case tc.want != "" && err != nil:
			t.Errorf("%s: %v", tc.patch, err)
		case tc.want != "" && hex.EncodeToString(frame) != tc.want:
			t.Errorf("%s: frame %x, want %s", tc.patch, frame, tc.want)
		}
	}
}
