package loop

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The client of the echo benchmark is a process of its own, so that getrusage of this one is the server alone.
const clientEnv = "LOOP_BENCH_CLIENT"

func init() {
	spec := os.Getenv(clientEnv)
	if spec == "" {
		return
	}
	if err := benchClient(spec); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// benchClient runs "addr conns depth size rounds": every connection sends depth frames, waits for the replies, and again.
func benchClient(spec string) error {
	f := strings.Fields(spec)
	var n [4]int
	for i := range n {
		v, err := strconv.Atoi(f[i+1])
		if err != nil {
			return err
		}
		n[i] = v
	}
	conns, depth, size, rounds := n[0], n[1], n[2], n[3]
	batch := bytes.Repeat(frame(make([]byte, size-4)), depth)
	errs := make(chan error, conns)
	for range conns {
		c, err := net.Dial("tcp", f[0])
		if err != nil {
			return err
		}
		go func() {
			in := make([]byte, len(batch))
			for range rounds {
				if _, err := c.Write(batch); err != nil {
					errs <- err
					return
				}
				if _, err := io.ReadFull(c, in); err != nil {
					errs <- err
					return
				}
			}
			errs <- c.Close()
		}()
	}
	for range conns {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

func cpu() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkEcho: ns/op is wall time per frame, cpu-ns/op what the server's process used per frame.
func BenchmarkEcho(b *testing.B) {
	for name, library := range modes {
		for _, conns := range []int{1, 16} {
			for _, depth := range []int{1, 16, 128} {
				b.Run(fmt.Sprintf("%s/conns=%d/d=%d", name, conns, depth), func(b *testing.B) {
					benchEcho(b, Config{LibraryWaits: library}, conns, depth, 64)
				})
			}
		}
	}
}

func benchEcho(b *testing.B, cfg Config, conns, depth, size int) {
	b.ReportAllocs()
	l := startLoop(b, cfg, newEcho())
	rounds := b.N/(conns*depth) + 1
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d %d %d", clientEnv, l.Addrs()[0], conns, depth, size, rounds))
	cmd.Stderr = os.Stderr
	b.ResetTimer()
	before := cpu()
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
	used := cpu() - before
	b.StopTimer()
	n := float64(rounds * conns * depth)
	b.ReportMetric(float64(used.Nanoseconds())/n, "cpu-ns/op")
	var turns, inlined uint64
	onLoop(b, l, func() { turns, inlined = l.stats.Turns, l.stats.Inlined })
	b.ReportMetric(n/float64(turns), "frames/turn")
	b.ReportMetric(float64(inlined)/float64(turns), "inline")
}

// BenchmarkHop is one message to another loop and its answer, with so many under way.
func BenchmarkHop(b *testing.B) {
	for _, inflight := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("inflight=%d", inflight), func(b *testing.B) {
			b.ReportAllocs()
			pingPong(b, b.N, inflight)
		})
	}
}

// pingPong sends n messages from loop a to loop b and back, inflight at a time.
func pingPong(t testing.TB, n, inflight int) {
	ha, hb := newEcho(), newEcho()
	a := startLoop(t, Config{Name: "a"}, ha)
	bb := startLoop(t, Config{Name: "b"}, hb)
	sent, next, done := 0, 0, make(chan struct{})
	post := func(l *Loop[msg], m msg) {
		if err := l.Post(m); err != nil {
			t.Errorf("post: %v", err)
		}
	}
	hb.onMsg = func(m *msg) { post(a, msg{n: m.n}) }
	ha.onMsg = func(m *msg) {
		if m.n >= 0 {
			if m.n != next {
				t.Errorf("answer %d came when %d was due", m.n, next)
			}
			if next++; next == n {
				close(done)
			}
		}
		for sent < n && sent-next < inflight {
			sent++
			post(bb, msg{n: sent - 1})
		}
	}
	post(a, msg{n: -1})
	select {
	case <-done:
	case <-time.After(10 * patience):
		t.Fatal("messages got lost")
	}
}
