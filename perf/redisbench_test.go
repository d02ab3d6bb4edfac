package perf

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The table that redis-benchmark 7.0.15 prints.
func TestReadBenchmark(t *testing.T) {
	const head = `"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"` + "\n"
	got, err := readBenchmark(strings.NewReader(head + `"GET","50847.46","0.018","0.000","0.015","0.023","0.095","3.759"` + "\n"))
	if err != nil || got != (BenchmarkLine{PerSec: 50847.46, P50: 15 * time.Microsecond, P99: 95 * time.Microsecond}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", head, head + "\"GET\",\"x\"\n", "a,b\n1,2\n", head + `"GET","0","0","0","0","0","0","0"` + "\n"} {
		if got, err := readBenchmark(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

// The real programs, where they are installed.
func TestRedisServer(t *testing.T) {
	if _, err := exec.LookPath("redis-benchmark"); err != nil {
		t.Skip("there is no redis-benchmark (Debian's packages redis-server and redis-tools)")
	}
	s, err := StartRedis(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Fill(context.Background(), 200); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(context.Background(), 200, 500); err != nil || got.P50 > got.P99 {
		t.Errorf("%+v, %v", got, err)
	}
	r, err := Run(context.Background(), Config{
		Driver: &Redis{Address: "127.0.0.1:" + s.port}, Conns: 1, Depth: 4, Work: small(0.5), Preload: true, Ops: 300,
	})
	if err != nil || r.Ops != 300 || r.Misses != 0 || len(r.Servers) != 1 || !strings.HasPrefix(r.Servers[0].Version, "Redis ") {
		t.Errorf("%+v, %v", r, err)
	}
}
