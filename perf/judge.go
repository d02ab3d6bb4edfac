package perf

import (
	"errors"
	"math"
	"slices"
)

// Verdict compares a figure of two builds, for which less is better.
type Verdict struct {
	Base, Head float64 // medians
	// Ratio is the median of head/base over the pairs of runs, and Error how far it may be off: its standard error, estimated
	// from the median absolute deviation.
	Ratio, Error float64
	// Slower: the head is worse, by more than the threshold and by more than noise explains.
	Slower bool
}

// MinRuns is how many pairs of runs a verdict needs.
const MinRuns = 7

// certainty is how many standard errors the ratio must be from 1.
const certainty = 3

// errFewRuns says that a verdict would mean nothing.
var errFewRuns = errors.New("perf: a verdict needs seven pairs of runs at least")

// Judge decides about runs that were made in turn: base, head, base, head and so on. Pairs are compared, not groups: whatever
// else the machine does changes slowly, hits both runs of a pair, and cancels out of their ratio. Medians, because a run that was
// disturbed is off by any amount. Means and a t-test were rejected for that reason; a rank test says whether, but not by how
// much, and a slow-down of one per cent is not worth an alarm.
func Judge(base, head []float64, threshold float64) (Verdict, error) {
	n := len(base)
	if n < MinRuns || n != len(head) {
		return Verdict{}, errFewRuns
	}
	ratios := make([]float64, n)
	for i := range ratios {
		if !(base[i] > 0) || !(head[i] > 0) {
			return Verdict{}, errors.New("perf: a run without a figure")
		}
		ratios[i] = head[i] / base[i]
	}
	v := Verdict{Base: MedianOf(base), Head: MedianOf(head), Ratio: MedianOf(ratios)}
	deviations := make([]float64, n)
	for i, r := range ratios {
		deviations[i] = math.Abs(r - v.Ratio)
	}
	// 1.4826 makes a standard deviation of a MAD, 1.2533 a standard error of a median, both for normal errors.
	v.Error = 1.4826 * 1.2533 * MedianOf(deviations) / math.Sqrt(float64(n))
	v.Slower = v.Ratio > 1+threshold && v.Ratio-certainty*v.Error > 1
	return v, nil
}

// MedianOf returns the median of a list that is not empty.
func MedianOf(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}
