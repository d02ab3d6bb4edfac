package proto

import (
	"hash/crc64"
	"math/rand/v2"
	"testing"
)

func TestKeyHash(t *testing.T) {
	for in, want := range map[string]uint64{
		"": 0, "hello": 0x3377857006524257, "123456789": 0xae8b14860a799888,
	} {
		if got := KeyHash([]byte(in)); got != want {
			t.Errorf("%q: %#x, want %#x", in, got, want)
		}
	}
	for i, want := range map[int]uint64{1: 0x7f6ef0c830358979, 128: 0x9a6c9329ac4bc9b5, 255: 0x2ada5047efec8728} {
		if keyTables[0][i] != want {
			t.Errorf("table[%d] = %#x", i, keyTables[0][i])
		}
	}
	std := crc64.MakeTable(keyPoly)
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		if got, want := KeyHash(b), crc64.Checksum(b, std); got != want {
			t.Errorf("length %d: %#x, want %#x", n, got, want)
		}
	}
}

func TestRawKeyHash(t *testing.T) {
	hello := KeyHash([]byte("hello"))
	for raw, want := range map[string]uint64{
		"\x00\x05hello": hello, "\x00\x05hellosort": hello, "\x00\x00hello": hello, "\x00\x00": 0,
		"": 0, "\x00": 0, "\x00\x06hello": 0,
	} {
		if got := RawKeyHash([]byte(raw)); got != want {
			t.Errorf("%q: %#x, want %#x", raw, got, want)
		}
	}
	raw := []byte("\x00\x10some hash key 16sort key")
	if n := testing.AllocsPerRun(100, func() { _ = RawKeyHash(raw) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The partitions of a table lie evenly on the shards, for every number of shards and wherever the table starts.
func TestPlacementIsEven(t *testing.T) {
	for _, partitions := range []int32{8, 16, 128} {
		for shards := 1; shards <= 16; shards++ {
			for app := int32(1); app <= 100; app++ {
				count := make([]int, shards)
				for p := range partitions {
					count[Placement(GPID{app, p}, shards)]++
				}
				low, high := count[0], count[0]
				for _, c := range count {
					low, high = min(low, c), max(high, c)
				}
				if high-low > 1 {
					t.Errorf("app %d, %d partitions, %d shards: %v", app, partitions, shards, count)
				}
			}
		}
	}
}

// Tables with one partition do not all lie on one shard.
func TestPlacementSpreadsSmallTables(t *testing.T) {
	for shards := 2; shards <= 16; shards++ {
		count := make([]int, shards)
		for app := int32(1); app <= 64*int32(shards); app++ {
			count[Placement(GPID{app, 0}, shards)]++
		}
		for s, c := range count {
			if c < 56 || c > 72 {
				t.Errorf("%d shards: %d of %d small tables on shard %d", shards, c, 64*shards, s)
			}
		}
	}
}
