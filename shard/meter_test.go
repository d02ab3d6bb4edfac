package shard

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"pegasus/netcore/proto"
)

// However requests are mixed, what runs count is what counting them one at a time does.
func TestRunsCountEveryRequest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	codes := []proto.Code{proto.CodeGet, proto.CodeGet, proto.CodeTTL, proto.CodePut, proto.CodeGetScanner, proto.CodeScan}
	var want meter
	p := &partition{slowAfter: 1000, throttles: &throttles{}}
	p.throttles.readBytes.perSecond = 1
	var read int64
	for now := int64(10_000); now < 10_500; now++ {
		calls := make([]call, 1+r.IntN(40))
		for i := range calls {
			calls[i].to.Code, calls[i].at = codes[r.IntN(len(codes))], now-int64(r.IntN(3))*700
		}
		counted := p.newRun(&calls[0], now)
		for i := range calls {
			c := &calls[i]
			if r.IntN(8) == 0 {
				continue // refused
			}
			bytes := r.IntN(3) * 5000
			counted.next(c)
			counted.add(bytes)
			if slow := now-c.at >= 1000; p.curious(c, now) != slow {
				t.Fatalf("a request of %d ns is slow: %v", now-c.at, !slow)
			}
			k := kindOf[c.to.Code]
			if want[k] == nil {
				want[k] = new(kindMeter)
			}
			want[k].bytes += uint64(bytes)
			want[k].units += uint64(bytes/4096 + 1)
			want[k].latency.Record(now - c.at)
			if !k.write() {
				read += int64(bytes)
			}
		}
		counted.end()
	}
	for k := range want {
		switch got := p.meter[k]; {
		case (got == nil) != (want[k] == nil):
			t.Errorf("%s: counted %v, want %v", kindNames[k], got, want[k])
		case got != nil && *got != *want[k]:
			t.Errorf("%s: %d requests, %d bytes, %d units, or other latencies than %d, %d, %d", kindNames[k], got.latency.Count(), got.bytes,
				got.units, want[k].latency.Count(), want[k].bytes, want[k].units)
		}
	}
	if p.throttles.readBytes.tokens != -read {
		t.Errorf("%d bytes taken from the throttle, want %d", -p.throttles.readBytes.tokens, read)
	}
	traced := call{dest: dest{trace: 1}}
	if !p.curious(&traced, 1) {
		t.Error("a traced request is not explained")
	}
}

// BenchmarkCounting is what BenchmarkServeGet pays for being counted. One operation is one request.
func BenchmarkCounting(b *testing.B) {
	for _, perTurn := range []int{1, 16, 64} {
		b.Run("turn="+strconv.Itoa(perTurn), func(b *testing.B) {
			p := &partition{slowAfter: slowDisabled}
			calls := make([]call, perTurn)
			for i := range calls {
				calls[i].to.Code = proto.CodeGet
			}
			explained, sampled := 0, 0
			for n := 0; n < b.N; n += perTurn {
				for i := p.hotReads.sample(0, perTurn); i < perTurn; i = p.hotReads.sample(i+1, perTurn) {
					sampled++
				}
				now := int64(n)
				counted := p.newRun(&calls[0], now)
				for i := range calls {
					counted.next(&calls[i])
					counted.add(100)
					if p.curious(&calls[i], now) {
						explained++
					}
				}
				counted.end()
			}
			if count := p.meter[kindGet].latency.Count(); explained > 0 || count < uint64(b.N) || sampled < b.N/hotSample {
				b.Errorf("%d of %d counted, %d sampled, %d to explain", count, b.N, sampled, explained)
			}
		})
	}
}
