package onebox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// reservation holds ports for one cluster against other oneboxes of the same machine.
//
// Asking the kernel for port 0 and closing the listener is not enough: the daemons bind later, they are killed and
// restarted, and as they listen with SO_REUSEPORT two clusters on one port would not even notice. So a port is held by
// a lock on a file, and comes from below the range that the kernel gives to outgoing connections.
type reservation struct{ locks []*os.File }

const (
	firstFreePort = 20000
	lastFreePort  = 32000
	portAttempts  = 1000
)

var errNoPorts = errors.New("onebox: no free ports between 20000 and 32000")

// take reserves n consecutive ports on which nobody listens and returns the first.
func (r *reservation) take(n int) (int, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("pegasus-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	for range portAttempts {
		first := firstFreePort + rand.IntN(lastFreePort-firstFreePort-n)
		mark := len(r.locks)
		if r.takeExactly(dir, first, n) {
			return first, nil
		}
		r.releaseFrom(mark)
	}
	return 0, errNoPorts
}

func (r *reservation) takeExactly(dir string, first, n int) bool {
	for port := first; port < first+n; port++ {
		f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return false
		}
		r.locks = append(r.locks, f)
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			return false
		}
		l, err := net.Listen("tcp", address(loopback, port))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

func (r *reservation) release() {
	if r != nil {
		r.releaseFrom(0)
	}
}

func (r *reservation) releaseFrom(mark int) {
	for _, f := range r.locks[mark:] {
		f.Close()
	}
	r.locks = r.locks[:mark]
}
