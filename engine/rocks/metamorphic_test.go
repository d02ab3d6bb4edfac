package rocks_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pegasus/engine"
	"pegasus/engine/enginetest"
	"pegasus/engine/rocks"
)

var (
	metaSeed = flag.Uint64("meta.seed", 0, "run the metamorphic test with this seed only; 0 draws some")
	metaRuns = flag.Int("meta.runs", 5, "number of seeds the metamorphic test draws")
)

// randomOptions makes files, blocks and buffers so small that a short run meets every size of thing.
func randomOptions(seed uint64) rocks.Options {
	r := rand.New(rand.NewPCG(seed, 3))
	pick := func(v ...int) int { return v[r.IntN(len(v))] }
	return rocks.Options{
		Shared:           shared,
		WriteBufferBytes: uint64(pick(64<<10, 128<<10, 1<<20)),
		WriteBuffers:     pick(2, 4),
		BlockBytes:       pick(512, 4096),
		BloomBits:        pick(-1, 1, 10),
		NoPrefixFilter:   r.IntN(3) == 0,
		Compression:      []string{"none", "snappy", "lz4", "zstd"}[r.IntN(4)],
		L0Compact:        pick(1, 4),
		TargetFileBytes:  64 << 10,
		LevelBaseBytes:   uint64(pick(64<<10, 1<<20)),
		NoAutoCompact:    r.IntN(4) == 0,
	}
}

func TestMetamorphic(t *testing.T) {
	first, runs := *metaSeed, 1
	if first == 0 {
		first, runs = uint64(time.Now().UnixNano()), *metaRuns
	}
	for i := range uint64(runs) {
		seed := first + i
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			o := randomOptions(seed)
			enginetest.Metamorphic(t, seed, 600, func(dir string) (engine.Store, error) { return rocks.Open(dir, o) })
		})
	}
}
