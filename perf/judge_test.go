package perf

import (
	"math"
	"math/rand/v2"
	"testing"
)

// trial makes runs as this machine does: every run is off by noise, the machine drifts, and some runs are disturbed by far more.
// The head is slower by the factor given.
func trial(r *rand.Rand, runs int, noise, slower float64) (base, head []float64) {
	drift := 0.0
	for range runs {
		drift += 0.1 * r.NormFloat64()
		one := func(factor float64) float64 {
			v := 50 * factor * math.Exp(drift+noise*r.NormFloat64())
			if r.IntN(12) == 0 {
				v *= 1.5 + r.Float64()
			}
			return v
		}
		base, head = append(base, one(1)), append(head, one(slower))
	}
	return base, head
}

func TestJudgePlantedSlowdowns(t *testing.T) {
	const trials, threshold = 2000, 0.05
	for _, tc := range []struct {
		runs          int
		noise, slower float64
		low, high     float64 // share of trials that must be called slower
	}{
		{7, 0.03, 1.00, 0, 0.02},
		{7, 0.10, 1.00, 0, 0.05},
		{7, 0.03, 0.80, 0, 0.005}, // faster
		{7, 0.01, 1.02, 0, 0.02},  // real, and not worth an alarm
		{7, 0.03, 1.15, 0.85, 1},
		{7, 0.03, 1.30, 0.95, 1},
		{15, 0.05, 1.15, 0.85, 1},
		{7, 0.10, 1.50, 0.75, 1},
	} {
		r := rand.New(rand.NewPCG(1, 2))
		called := 0.0
		for range trials {
			base, head := trial(r, tc.runs, tc.noise, tc.slower)
			v, err := Judge(base, head, threshold)
			if err != nil {
				t.Fatal(err)
			}
			if v.Slower {
				called++
			}
		}
		if share := called / trials; share < tc.low || share > tc.high {
			t.Errorf("%d runs, noise %.0f%%, %.0f%% slower: called so in %.1f%% of the trials, want %.0f%% to %.0f%%",
				tc.runs, tc.noise*100, (tc.slower-1)*100, share*100, tc.low*100, tc.high*100)
		}
	}
}

func TestJudgeFigures(t *testing.T) {
	base := []float64{10, 11, 12, 10, 9, 10, 100}
	head := []float64{12, 13.2, 14.4, 12, 10.8, 12, 60}
	v, err := Judge(base, head, 0.05)
	if err != nil {
		t.Fatal(err)
	}
	if v.Base != 10 || v.Head != 12 || math.Abs(v.Ratio-1.2) > 1e-9 || v.Error > 1e-9 || !v.Slower {
		t.Errorf("%+v", v)
	}
	if v, err := Judge(head, base, 0.05); err != nil || v.Slower {
		t.Errorf("the faster one is called slower: %+v, %v", v, err)
	}
	for _, bad := range [][2][]float64{{base[:6], head[:6]}, {base, head[:6]}, {{0, 1, 1, 1, 1, 1, 1}, base}, {base, {math.NaN(), 1, 1, 1, 1, 1, 1}}} {
		if _, err := Judge(bad[0], bad[1], 0.05); err == nil {
			t.Errorf("%v is judged", bad)
		}
	}
}
