package rocks

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// On a full disk Apply says so and writes nothing; when there is space again the open store goes on by itself.
func TestNoSpace(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 16<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	shared, err := NewShared(SharedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	s, err := Open(filepath.Join(dir, "rdb"), Options{Shared: shared, WriteBufferBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	random := rand.New(rand.NewPCG(1, 2))
	value := make([]byte, 100<<10)
	apply := func(d proto.Decree) error {
		for i := range value {
			value[i] = byte(random.Uint32())
		}
		var b engine.BatchBuilder
		b.Put([]byte{0, 1, 'k', byte(d >> 8), byte(d)}, 0, uint64(d), value)
		return s.Apply(d, b.Bytes())
	}
	d := proto.Decree(1)
	for ; d < 400; d++ {
		if err = apply(d); err != nil {
			break
		}
		if _, ferr := s.Flush(); ferr != nil && !errors.Is(ferr, engine.ErrNoSpace) {
			t.Fatal(ferr)
		}
	}
	if !errors.Is(err, engine.ErrNoSpace) {
		t.Fatalf("apply %d: %v", d, err)
	}
	if s.AppliedDecree() != d-1 {
		t.Fatalf("applied %d, want %d", s.AppliedDecree(), d-1)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if err = apply(d); err == nil {
			break
		}
		if !errors.Is(err, engine.ErrNoSpace) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if got, err := s.Flush(); err != nil || got != d {
		t.Fatalf("flushed %d, want %d: %v", got, d, err)
	}
}
