package proto

import "testing"

// Names and numbers convert both ways, and every code has one kind.
func TestCodeNames(t *testing.T) {
	for c := CodePut; c < codeCount; c++ {
		if ParseCode([]byte(c.String())) != c || len(c.String())+len(ackSuffix) > maxCodeName {
			t.Errorf("code %d: name %q", c, c)
		}
		if c.IsData() != (c.IsRead() || c.IsWrite()) || c.IsRead() && c.IsWrite() || c.IsAtomic() && !c.IsWrite() {
			t.Errorf("%v: data %v, read %v, write %v, atomic %v", c, c.IsData(), c.IsRead(), c.IsWrite(), c.IsAtomic())
		}
	}
	if ParseCode(nil) != CodeUnknown || CodeUnknown.String() != "" || Code(255).String() != "" || CodeUnknown.IsData() {
		t.Error("the unknown code has a name")
	}
	for name := range localTaskNames {
		if ParseCode([]byte(name)) != CodeUnknown {
			t.Errorf("%s is an RPC and a local task", name)
		}
	}
}

func TestErrCodeNames(t *testing.T) {
	for e := range errCodeCount {
		if got, ok := ParseErrCode(e.Error()); !ok || got != e || len(e.String()) > maxCodeName {
			t.Errorf("error %d: name %q", e, e)
		}
	}
	if _, ok := ParseErrCode("ERR_OF_TOMORROW"); ok || ErrCode(255).String() != "ERR_UNKNOWN" || ErrCode(255).WireSafe() != ErrCode(255) {
		t.Error("unknown names")
	}
	// The numbers of the native client (spec wire 5).
	for e, n := range map[ErrCode]int{ErrBusy: 7, ErrInvalidState: 17, ErrTryAgain: 39, ErrAppExist: 45, ErrOperationDisabled: 52, ErrDiskInsufficient: 77} {
		if int(e) != n {
			t.Errorf("%v is %d, want %d", e, e, n)
		}
	}
}

func TestNodeID(t *testing.T) {
	n := NodeID{0: 0xab, 15: 1}
	if got, err := ParseNodeID(n.String()); err != nil || got != n || n.IsZero() {
		t.Errorf("%v: %v, %v", n, got, err)
	}
	if !(NodeID{}).IsZero() || (NodeID{}).String() != "none" {
		t.Error("zero id")
	}
	for _, bad := range []string{"", "none", "ab", n.String() + "0", "g" + n.String()[1:]} {
		if got, err := ParseNodeID(bad); err == nil || !got.IsZero() {
			t.Errorf("%q: %v", bad, got)
		}
	}
}
