package shard

import (
	"math/rand/v2"
	"testing"

	"pegasus/engine"
)

// The overlay against a list of what is in flight, searched from the newest.
func TestOverlayAgainstAList(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var o overlay
		var inFlight []*mutationOps
		keys := make([][]byte, 6)
		for i := range keys {
			keys[i] = rawKey("h", seqName(i))
		}
		write := func(m *mutationOps) {
			for range rng.IntN(4) {
				if k := keys[rng.IntN(len(keys))]; rng.IntN(3) == 0 {
					m.builder.Delete(k)
				} else {
					m.builder.Put(k, 0, 0, []byte(seqName(rng.IntN(1000))))
				}
			}
		}
		want := func(key []byte) (rec engine.Record, ok bool) {
			for _, m := range inFlight {
				r := engine.ReadBatch(m.builder.Bytes())
				for r.Next() {
					if string(r.Record().Key) == string(key) {
						rec, ok = r.Record(), true
					}
				}
			}
			return rec, ok
		}
		for range 400 {
			switch n := len(inFlight); rng.IntN(6) {
			case 0:
				if n > 0 {
					o.drop(inFlight[0])
					inFlight = inFlight[1:]
				}
			case 1:
				if n > 0 {
					o.forget(inFlight[n-1], n == 1)
					inFlight = inFlight[:n-1]
				}
			case 2: // the newest grows
				if n > 0 {
					write(inFlight[n-1])
					o.add(inFlight[n-1])
				}
			default:
				m := &mutationOps{}
				write(m)
				o.add(m)
				inFlight = append(inFlight, m)
			}
			for _, key := range keys {
				outcome, value, ok := o.get(key)
				rec, exist := want(key)
				if ok != exist || ok && (outcome == engine.NotFound) != rec.Delete || string(value) != string(rec.Value) {
					t.Fatalf("seed %d: %q is %v %q %v, want %+v %v", seed, key, outcome, value, ok, rec, exist)
				}
			}
		}
		for _, m := range inFlight {
			o.drop(m)
		}
		if len(o.entries) != o.gone || len(o.heads) != 0 {
			t.Fatalf("seed %d: %d entries and %d heads left", seed, len(o.entries)-o.gone, len(o.heads))
		}
		o.deactivate()
	}
}
