package pacsim

// Shrink turns off one kind of fault after the other for as long as the run still fails in the same way, and returns the last
// failing run. The seed stays, so the result is replayed by its options and not by its seed alone: Result.Options.On says which
// kinds are left.
func Shrink(r Result) Result {
	for again := true; again; {
		again = false
		for f := Fault(0); f < faultCount; f++ {
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
