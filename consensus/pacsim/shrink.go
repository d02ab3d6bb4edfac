package pacsim

import "time"

// Shrink turns off one kind of fault after the other for as long as the run still fails in the same way, and returns the last
// failing run. The seed stays, so the result is replayed by its options and not by its seed alone: Result.Options.On says which
// kinds are left. It gives up after patience of wall time.
func Shrink(r Result, patience time.Duration) Result {
	start := time.Now()
	for again := true; again; {
		again = false
		for f := Fault(0); f < faultCount && time.Since(start) < patience; f++ {
			if !r.Options.On[f] {
				continue
			}
			if try := Run(r.Options.Without(f), nil); try.Failure != nil && try.Failure.Kind == r.Failure.Kind {
				r, again = try, true
			}
		}
	}
	return r
}
