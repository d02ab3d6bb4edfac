package loop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// CheckPortsFree tells whether nobody listens on addrs (host:port). Because loops share ports, a second process of
// the same user could open them without an error and take half of the connections: call this once before the first
// loop starts.
func CheckPortsFree(addrs []string) error {
	for _, a := range addrs {
		ln, err := net.Listen("tcp", a)
		if err != nil {
			return fmt.Errorf("loop: %s is not free: %w", a, err)
		}
		if err := ln.Close(); err != nil {
			return err
		}
	}
	return nil
}

// RaiseFileLimit raises the limit of open files of this process as far as it is allowed to, and returns the limit.
// A loop that cannot accept for want of descriptors ends: keep the sum of MaxSessions well below this number.
func RaiseFileLimit() (uint64, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	if l.Cur < l.Max {
		l.Cur = l.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
			return 0, os.NewSyscallError("setrlimit", err)
		}
	}
	return l.Cur, nil
}

// reservation holds sockets that are bound and do not listen.
type reservation []int

func (r reservation) release() {
	for _, fd := range r {
		unix.Close(fd)
	}
}

// reserve binds every address and returns them with real port numbers. It serves two ends: port 0 is resolved without
// a gap in which somebody else could take the port, and an address that cannot be bound is found before gnet starts,
// which leaks the listeners that it opened before the one that failed.
func reserve(addrs []string) (reservation, []string, error) {
	var r reservation
	var out []string
	for _, a := range addrs {
		fd, real, err := bind(a)
		if err != nil {
			r.release()
			return nil, nil, fmt.Errorf("cannot bind %s: %w", a, err)
		}
		r, out = append(r, fd), append(out, real)
	}
	return r, out, nil
}

func bind(addr string) (fd int, real string, err error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return -1, "", err
	}
	if strings.ContainsAny(host, "%") {
		return -1, "", errors.New("addresses with a zone are not supported")
	}
	ta, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return -1, "", err
	}
	family, sa := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: ta.Port})
	if ip4 := ta.IP.To4(); ip4 != nil {
		sa = &unix.SockaddrInet4{Port: ta.Port, Addr: [4]byte(ip4)}
	} else if ta.IP != nil {
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: ta.Port, Addr: [16]byte(ta.IP.To16())}
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, "", os.NewSyscallError("socket", err)
	}
	for _, opt := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, 1); err != nil {
			unix.Close(fd)
			return -1, "", os.NewSyscallError("setsockopt", err)
		}
	}
	if err = unix.Bind(fd, sa); err != nil {
		unix.Close(fd)
		return -1, "", os.NewSyscallError("bind", err)
	}
	got, err := unix.Getsockname(fd)
	if err != nil {
		unix.Close(fd)
		return -1, "", os.NewSyscallError("getsockname", err)
	}
	port := ta.Port
	switch got := got.(type) {
	case *unix.SockaddrInet4:
		port = got.Port
	case *unix.SockaddrInet6:
		port = got.Port
	}
	return fd, net.JoinHostPort(host, strconv.Itoa(port)), nil
}
