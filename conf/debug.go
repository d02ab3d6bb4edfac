package conf

import (
	"net"
)

// Debug is the port for profiles and counters.
type Debug struct {
	Listen string `toml:"listen" allow:"address?"`
}

func (d *Debug) check(report func(key, format string, args ...any)) {
	if d.Listen == "" {
		return
	}
	host, _, err := net.SplitHostPort(d.Listen)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		report("debug.listen", "%q: want an address of this machine only, such as 127.0.0.1:34900", d.Listen)
	}
}
