package transfer

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"path"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pegasus/netcore/disk"
	"pegasus/netcore/proto"
)

// TestMain proves that no test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for a condition; only a failing test ever waits so long.
const patience = 40 * time.Second

const testID = 0x1122334455667788

var testGPID = proto.GPID{App: 3, Part: 7}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// tree is the content of a directory.
type tree map[string][]byte

// randomTree has a file of each size, named like the files of a checkpoint.
func randomTree(seed byte, sizes ...int) tree {
	rng := rand.NewChaCha8([32]byte{byte(seed)})
	tr := tree{}
	for i, size := range sizes {
		p := make([]byte, size)
		_, _ = rng.Read(p) // never fails
		tr[fmt.Sprintf("%06d.sst", i+1)] = p
	}
	return tr
}

func (tr tree) bytes() (sum int64) {
	for _, p := range tr {
		sum += int64(len(p))
	}
	return sum
}

func (tr tree) write(t testing.TB, fsys disk.FS, dir string) {
	t.Helper()
	must(t, fsys.MkdirAll(dir))
	for name, p := range tr {
		f, err := fsys.Create(path.Join(dir, name))
		must(t, err)
		if len(p) > 0 {
			_, err = f.WriteAt(p, 0)
		}
		must(t, err, f.Close())
	}
}

// check demands that dir holds just this.
func (tr tree) check(t testing.TB, fsys disk.FS, dir string) {
	t.Helper()
	names, err := fsys.List(dir)
	must(t, err)
	if want := slices.Sorted(maps.Keys(tr)); !slices.Equal(names, want) {
		t.Fatalf("%d files, want %d: %.10q", len(names), len(want), names)
	}
	for _, name := range names {
		p, err := disk.ReadFile(fsys, path.Join(dir, name))
		must(t, err)
		if !bytes.Equal(p, tr[name]) {
			t.Fatalf("%s differs", name)
		}
	}
}

// serve starts a server on a free port.
func serve(t testing.TB, o Options) (s *Server, addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s = NewServer(ln, o)
	t.Cleanup(s.Close)
	return s, ln.Addr().String()
}

// offered starts a server that offers tr under testID.
func offered(t testing.TB, tr tree, o Options) (s *Server, addr string) {
	t.Helper()
	fsys := o.FS
	if fsys == nil {
		fsys = disk.OS()
	}
	dir := path.Join(t.TempDir(), "checkpoint")
	tr.write(t, fsys, dir)
	s, addr = serve(t, o)
	must(t, s.Offer(testID, testGPID, 42, dir))
	return s, addr
}

// proxy stands between learner and server and may change or cut what passes.
type proxy struct {
	ln     net.Listener
	target string
	// pass sees every chunk before it goes on: of which connection, counted from 0, and where in the stream of that
	// direction. It returns how much goes on; less than all cuts the connection after it.
	pass func(conn int, down bool, off int64, p []byte) int

	wg    sync.WaitGroup
	mu    sync.Mutex
	conns []net.Conn
}

func newProxy(t testing.TB, target string, pass func(conn int, down bool, off int64, p []byte) int) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{ln: ln, target: target, pass: pass}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		ln.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return ln.Addr().String()
}

func (p *proxy) accept() {
	for n := 0; ; n++ {
		a, err := p.ln.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", p.target)
		if err != nil {
			a.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, a, b)
		p.mu.Unlock()
		p.wg.Go(func() { p.copy(n, false, b, a) })
		p.wg.Go(func() { p.copy(n, true, a, b) })
	}
}

func (p *proxy) copy(n int, down bool, to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for off := int64(0); ; {
		got, err := from.Read(buf)
		if err != nil {
			return
		}
		keep := p.pass(n, down, off, buf[:got])
		if _, err := to.Write(buf[:keep]); err != nil || keep < got {
			return
		}
		off += int64(got)
	}
}
