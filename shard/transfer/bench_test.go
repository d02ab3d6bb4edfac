package transfer

import (
	"context"
	"fmt"
	"os"
	"path"
	"syscall"
	"testing"
	"time"

	"pegasus/netcore/disk"
)

// cpu is the processor time of this process so far.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFetch copies through the loopback device and the real file system, both ends in this process. cpu-ms/MB (of 1e6
// bytes) is both ends together; Offer is not in it.
func BenchmarkFetch(b *testing.B) {
	for _, c := range []struct{ files, size int }{{4, 64 << 20}, {64, 4 << 20}, {2000, 4 << 10}} {
		b.Run(fmt.Sprintf("files=%d,size=%d", c.files, c.size), func(b *testing.B) {
			sizes := make([]int, c.files)
			for i := range sizes {
				sizes[i] = c.size
			}
			tr := randomTree(50, sizes...)
			_, addr := offered(b, tr, Options{})
			root := b.TempDir()
			b.SetBytes(tr.bytes())
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				dst := path.Join(root, "dst")
				if _, err := Fetch(context.Background(), addr, testID, dst, Options{}); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				used := cpu(b)
				must(b, os.RemoveAll(dst))
				before += cpu(b) - used
				b.StartTimer()
			}
			b.ReportMetric((cpu(b)-before).Seconds()*1e9/float64(tr.bytes())/float64(b.N), "cpu-ms/MB")
		})
	}
}

// BenchmarkOffer reads and checksums a directory that is in the page cache.
func BenchmarkOffer(b *testing.B) {
	tr := randomTree(51, 64<<20)
	dir := path.Join(b.TempDir(), "cp")
	tr.write(b, disk.OS(), dir)
	o := Options{}.withDefaults()
	b.SetBytes(tr.bytes())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := scan(b.Context(), &o, dir); err != nil {
			b.Fatal(err)
		}
	}
}
