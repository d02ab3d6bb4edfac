package transfer

import (
	"errors"
	"math/rand/v2"
	"net"
	"path"
	"strings"
	"sync"
	"testing"

	"pegasus/netcore/disk"
)

// Every connection is cut one block after the last one, at the boundary, just before and just behind it. Each block is
// taken once.
func TestCutAtEveryBlockBoundary(t *testing.T) {
	tr := randomTree(20, 4*BlockSize, 3, 3*BlockSize+9)
	_, addr := offered(t, tr, Options{})
	manifest := int64(headerLen + len(manifestOf(t, tr).encode()))
	for _, shift := range []int64{-1, 0, 1, headerLen, BlockSize / 2} {
		limit := manifest + headerLen + BlockSize + shift
		via := newProxy(t, addr, func(_ int, down bool, off int64, p []byte) int {
			if down && off+int64(len(p)) > limit {
				return int(max(limit-off, 0))
			}
			return len(p)
		})
		if shift < 0 {
			// Never a whole block gets through.
			if _, err := Fetch(within(t), via, testID, t.TempDir(), Options{Attempts: 3}); !errors.Is(err, ErrUnreachable) {
				t.Fatal(err)
			}
			continue
		}
		dst := t.TempDir()
		var last Progress
		_, err := Fetch(within(t), via, testID, dst, Options{Progress: func(p Progress) { last = p }})
		must(t, err)
		tr.check(t, disk.OS(), dst)
		if last.Fetched != tr.bytes() || last.Reused != 0 || last.Dials < 7 {
			t.Fatalf("shift %d: %+v", shift, last)
		}
	}
}

// manifestOf is the manifest that a server makes of tr.
func manifestOf(t testing.TB, tr tree) *Manifest {
	fsys := disk.NewMem(1)
	tr.write(t, fsys, "/d")
	o := Options{FS: fsys}.withDefaults()
	files, err := scan(t.Context(), &o, "/d")
	must(t, err)
	return &Manifest{ID: testID, GPID: testGPID, Decree: 42, Files: files}
}

// Bits flip in both directions.
func TestBitsFlipInFlight(t *testing.T) {
	tr := randomTree(21, 9*BlockSize+100, 0, 77, 4*BlockSize)
	_, addr := offered(t, tr, Options{})
	damaged := 0
	for seed := range uint64(6) {
		var mu sync.Mutex
		rng := rand.New(rand.NewPCG(seed, 7))
		flips := 0
		via := newProxy(t, addr, func(_ int, down bool, _ int64, p []byte) int {
			mu.Lock()
			defer mu.Unlock()
			// One in 24 chunks from the server, which are large, one in 12 questions.
			if n := 12; flips < 40 && (down && rng.IntN(2*n) == 0 || !down && rng.IntN(n) == 0) {
				p[rng.IntN(len(p))] ^= 1 << rng.IntN(8)
				flips++
			}
			return len(p)
		})
		dst := t.TempDir()
		var last Progress
		_, err := Fetch(within(t), via, testID, dst, Options{Progress: func(p Progress) { last = p }})
		must(t, err)
		tr.check(t, disk.OS(), dst)
		if last.Fetched != tr.bytes() {
			t.Fatalf("%+v", last)
		}
		damaged += last.Damaged
	}
	if damaged == 0 {
		t.Fatal("no block was damaged")
	}
}

// A damaged body alone does not cost the connection.
func TestDamagedBlockIsAskedForAgain(t *testing.T) {
	tr := randomTree(22, 5*BlockSize)
	_, addr := offered(t, tr, Options{})
	at := int64(headerLen+len(manifestOf(t, tr).encode())) + 2*(headerLen+BlockSize) + headerLen + 1000
	via := newProxy(t, addr, func(_ int, down bool, off int64, p []byte) int {
		if i := at - off; down && i >= 0 && i < int64(len(p)) {
			p[i] ^= 1
		}
		return len(p)
	})
	dst := t.TempDir()
	var last Progress
	_, err := Fetch(within(t), via, testID, dst, Options{Progress: func(p Progress) { last = p }})
	must(t, err)
	tr.check(t, disk.OS(), dst)
	if last.Damaged != 1 || last.Dials != 1 || last.Fetched != tr.bytes() {
		t.Fatalf("%+v", last)
	}
}

// Bytes that change on the server's disk after the offer are not passed on, and the owner hears of it.
func TestSourceDamaged(t *testing.T) {
	for name, spoil := range map[string]func(fsys *disk.Mem, file string) error{
		"flipped": func(fsys *disk.Mem, file string) error { return fsys.FlipBit(file, 8*BlockSize+5) },
		"removed": func(fsys *disk.Mem, file string) error { return fsys.Remove(file) },
		"unreadable": func(fsys *disk.Mem, file string) error {
			fsys.Inject(disk.Fault{Op: disk.OpRead, Glob: file, Times: -1})
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := disk.NewMem(1)
			randomTree(23, 3*BlockSize, 50).write(t, fsys, "/cp")
			ended := make(chan error, 1)
			s, addr := serve(t, Options{FS: fsys, Ended: func(_ uint64, err error) { ended <- err }})
			must(t, s.Offer(testID, testGPID, 1, "/cp"))
			must(t, spoil(fsys, "/cp/000001.sst"))
			_, err := Fetch(within(t), addr, testID, path.Join(t.TempDir(), "d"), Options{})
			if !errors.Is(err, ErrSource) || !strings.Contains(err.Error(), "000001.sst") {
				t.Fatal(err)
			}
			if err := <-ended; !errors.Is(err, ErrSource) {
				t.Fatal(err)
			}
		})
	}
}

// A server that lies: what comes is judged by Fetch alone.
func TestLyingServer(t *testing.T) {
	good := manifestOf(t, tree{"a": []byte("content")})
	frame := func(h header, body []byte) []byte {
		h.length, h.sum = len(body), sumOf(body)
		b := make([]byte, headerLen)
		h.put(b)
		return append(b, body...)
	}
	manifest := func(change func(m *Manifest)) []byte {
		m := *good
		m.Files = []FileInfo{good.Files[0]}
		change(&m)
		return frame(header{kind: kindManifest, id: testID}, m.encode())
	}
	huge := make([]byte, headerLen)
	(&header{kind: kindManifest, id: testID, length: 1 << 31}).put(huge)
	newer := make([]byte, headerLen)
	block := func(id uint64, file uint32, offset int64, body string) []byte {
		return append(manifest(func(*Manifest) {}), frame(header{kind: kindBlock, id: id, file: file, offset: offset}, []byte(body))...)
	}
	for name, c := range map[string]struct {
		say  []byte
		want error
	}{
		"escape":         {manifest(func(m *Manifest) { m.Files[0].Name = "../../x" }), ErrManifest},
		"absolute":       {manifest(func(m *Manifest) { m.Files[0].Name = "/x" }), ErrManifest},
		"huge file":      {manifest(func(m *Manifest) { m.Files[0].Size = 1 << 60 }), ErrManifest},
		"other id":       {manifest(func(m *Manifest) { m.ID++ }), ErrManifest},
		"huge manifest":  {huge, ErrUnreachable},
		"busy":           {frame(header{kind: kindError, code: codeBusy}, nil), ErrBusy},
		"version":        {frame(header{kind: kindError, code: codeVersion}, []byte("2")), ErrVersion},
		"unknown code":   {frame(header{kind: kindError, code: 999}, nil), ErrUnreachable},
		"long text":      {frame(header{kind: kindError, code: codeBusy}, make([]byte, maxErrorText+1)), ErrUnreachable},
		"wrong kind":     {frame(header{kind: kindGet}, nil), ErrUnreachable},
		"garbage":        {newer, ErrUnreachable},
		"silence":        {nil, ErrUnreachable},
		"other content":  {block(testID, 0, 0, "CONTENT"), ErrSource},
		"other block":    {block(testID, 0, BlockSize, "content"), ErrUnreachable},
		"other file":     {block(testID, 1, 0, "content"), ErrUnreachable},
		"other transfer": {block(testID+1, 0, 0, "content"), ErrUnreachable},
		"short block":    {block(testID, 0, 0, "conten"), ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			addr := saying(t, c.say)
			root := t.TempDir()
			dst := path.Join(root, "dst")
			if _, err := Fetch(within(t), addr, testID, dst, Options{Attempts: 2}); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			names, err := disk.OS().List(root)
			if must(t, err); len(names) != 1 || !missing("/x") {
				t.Fatalf("written outside: %q", names)
			}
		})
	}
}

// saying starts a server that says the same to everybody and hangs up when it has read what fits in a second frame.
func saying(t *testing.T, say []byte) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write(say)
			_ = c.(*net.TCPConn).CloseWrite()
			buf := make([]byte, 1000)
			for err == nil {
				_, err = c.Read(buf)
			}
			c.Close()
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

// A learner that lies, or speaks another version, is told so and costs nobody else anything.
func TestLyingLearner(t *testing.T) {
	tr := randomTree(24, 2*BlockSize+5)
	s, addr := offered(t, tr, Options{})
	open := header{kind: kindOpen, id: testID, length: 16, sum: sumOf(make([]byte, 16))}
	version := make([]byte, headerLen)
	open.put(version)
	version[4]++
	le := sumOf(version[:44])
	version[44], version[45], version[46], version[47] = byte(le), byte(le>>8), byte(le>>16), byte(le>>24)
	ask := func(hs ...header) []byte {
		b := make([]byte, headerLen)
		open.put(b)
		b = append(b, make([]byte, 16)...)
		for _, h := range hs {
			b = append(b, make([]byte, headerLen)...)
			h.put(b[len(b)-headerLen:])
		}
		return b
	}
	for name, c := range map[string]struct {
		say  []byte
		want code
	}{
		"version":       {version, codeVersion},
		"no such file":  {ask(header{kind: kindGet, file: 1}), codeProtocol},
		"beyond":        {ask(header{kind: kindGet, offset: 3 * BlockSize}), codeProtocol},
		"negative":      {ask(header{kind: kindGet, offset: -BlockSize}), codeProtocol},
		"odd":           {ask(header{kind: kindGet, offset: 1}), codeProtocol},
		"server's kind": {ask(header{kind: kindBlock}), codeProtocol},
		"with a body":   {ask(header{kind: kindGet, length: 1}), codeProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", addr)
			must(t, err)
			defer conn.Close()
			_, err = conn.Write(c.say)
			must(t, err)
			l := newLink(conn, testID, defaultTimeout)
			for {
				h, err := l.next(maxManifest)
				must(t, err)
				_, err = l.bodyOf(h)
				must(t, err)
				if h.kind == kindError {
					if h.code != c.want {
						t.Fatalf("code %d, want %d", h.code, c.want)
					}
					return
				}
			}
		})
	}
	eventually(t, "all are gone", func() bool { return s.Stats().Conns == 0 })
	dst := t.TempDir()
	_, err := Fetch(within(t), addr, testID, dst, Options{})
	must(t, err)
	tr.check(t, disk.OS(), dst)
}
