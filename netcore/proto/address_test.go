package proto

import (
	"net/netip"
	"testing"
)

func TestRPCAddress(t *testing.T) {
	a := NewRPCAddress(netip.MustParseAddrPort("127.0.0.1:34801"))
	if a != 0x7f00000187f10001 || a.String() != "127.0.0.1:34801" || a.Port() != 34801 || !a.IsValid() {
		t.Errorf("%#x %v", uint64(a), a)
	}
	if a.AddrPort() != netip.MustParseAddrPort("127.0.0.1:34801") {
		t.Error(a.AddrPort())
	}
	if m := NewRPCAddress(netip.MustParseAddrPort("[::ffff:127.0.0.1]:34801")); m != a {
		t.Errorf("mapped: %v", m)
	}
	for _, none := range []RPCAddress{0, NewRPCAddress(netip.AddrPort{}), NewRPCAddress(netip.MustParseAddrPort("[::1]:1"))} {
		if none != 0 || none.IsValid() || none.String() != "invalid" || none.AddrPort().IsValid() {
			t.Errorf("%#x", uint64(none))
		}
	}
}

func TestHostPort(t *testing.T) {
	for in, want := range map[string]HostPort{
		"localhost:34801": {"localhost", 34801, HostIPv4}, "a:b:0": {"a:b", 0, HostIPv4}, "[::1]:65535": {"[::1]", 65535, HostIPv4},
	} {
		got, ok := ParseHostPort(in)
		if !ok || got != want || got.String() != in || !got.IsValid() {
			t.Errorf("%q: %+v %v", in, got, ok)
		}
	}
	for _, in := range []string{"", ":1", "host", "host:", "host:65536", "host:-1", "host:x"} {
		if got, ok := ParseHostPort(in); ok || got != (HostPort{}) {
			t.Errorf("%q: %+v", in, got)
		}
	}
	if (HostPort{}).String() != "invalid" {
		t.Error(HostPort{})
	}
}

func TestGPIDThrift(t *testing.T) {
	for _, g := range []GPID{{1, 2}, {-1, -1}, {0, 0}, {-1, 5}, {5, -1}, {1 << 30, 1 << 30}} {
		if got := GPIDFromThrift(g.Thrift()); got != g {
			t.Errorf("%v became %v", g, got)
		}
	}
}

func TestEnumNames(t *testing.T) {
	for got, want := range map[string]string{
		CTAddSecondaryForLB.String(): "CT_ADD_SECONDARY_FOR_LB",
		LevelFreezed.String():        "fl_freezed",
		AppAvailable.String():        "AS_AVAILABLE",
		ConfigType(99).String():      "config_type(99)",
		AppStatus(-1).String():       "app_status(-1)",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
