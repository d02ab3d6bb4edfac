package proto

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// RPCAddress is an IPv4 address and port as Pegasus packs them: ip<<32 | port<<16 | 1. The zero value is no address.
// It is little endian in a native header and a big-endian i64 in message bodies.
type RPCAddress uint64

const rpcAddressIPv4 = 1

// NewRPCAddress packs an address. An address that is not IPv4 (also not IPv4 mapped into IPv6) has no packed form and
// gives 0.
func NewRPCAddress(a netip.AddrPort) RPCAddress {
	ip := a.Addr().Unmap()
	if !ip.Is4() {
		return 0
	}
	b := ip.As4()
	return RPCAddress(binary.BigEndian.Uint32(b[:]))<<32 | RPCAddress(a.Port())<<16 | rpcAddressIPv4
}

// IsValid tells whether a names an address.
func (a RPCAddress) IsValid() bool { return a&3 == rpcAddressIPv4 }

// Port returns the port.
func (a RPCAddress) Port() uint16 { return uint16(a >> 16) }

// AddrPort unpacks a; it returns the zero AddrPort when a is not valid.
func (a RPCAddress) AddrPort() netip.AddrPort {
	if !a.IsValid() {
		return netip.AddrPort{}
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(a>>32))
	return netip.AddrPortFrom(netip.AddrFrom4(b), a.Port())
}

// String prints "ip:port", or "invalid".
func (a RPCAddress) String() string {
	if !a.IsValid() {
		return "invalid"
	}
	return a.AddrPort().String()
}

// HostKind is the type byte of a HostPort.
type HostKind int8

// The kinds of a HostPort. Apache's third kind, a group, never travels.
const (
	HostInvalid HostKind = 0
	HostIPv4    HostKind = 1
)

// HostPort is a host name (or literal address) and port. The zero value is no host; it is comparable.
type HostPort struct {
	Host string
	Port uint16
	Kind HostKind
}

// NewHostPort returns a valid HostPort.
func NewHostPort(host string, port uint16) HostPort {
	return HostPort{Host: host, Port: port, Kind: HostIPv4}
}

// ParseHostPort reads "host:port"; the port is what follows the last colon. ok is false when there is no host, or the
// port is not a number from 0 to 65535.
func ParseHostPort(s string) (h HostPort, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i <= 0 {
		return HostPort{}, false
	}
	port, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil {
		return HostPort{}, false
	}
	return NewHostPort(s[:i], uint16(port)), true
}

// IsValid tells whether h names a host.
func (h HostPort) IsValid() bool { return h.Kind == HostIPv4 }

// String prints "host:port", or "invalid".
func (h HostPort) String() string {
	if !h.IsValid() {
		return "invalid"
	}
	return h.Host + ":" + strconv.Itoa(int(h.Port))
}
