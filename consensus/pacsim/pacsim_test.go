package pacsim

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

var (
	seedFlag = flag.Uint64("seed", 0, "run this one seed with its whole trace in words")
	onlyFlag = flag.String("only", "", "with -seed: only these faults, by name, separated by commas")
	fromFlag = flag.Uint64("from", 0, "first of the fresh seeds; 0: by the clock")
)

// TestSeed replays one seed: go test ./consensus/pacsim -run TestSeed -seed=N -v
func TestSeed(t *testing.T) {
	if *seedFlag == 0 {
		t.Skip("no -seed given")
	}
	var verbose func(string)
	if testing.Verbose() {
		verbose = func(line string) { fmt.Println(line) }
	}
	o := Draw(*seedFlag)
	if *onlyFlag != "" {
		on, err := ParseFaults(*onlyFlag)
		if err != nil {
			t.Fatal(err)
		}
		o.On = on
	}
	t.Log(o)
	r := Run(o, verbose)
	report(t, r)
	t.Logf("%d events, %.0f s, %d answered, %d unanswered, %d refused, %d mutations, %d ballots, %d keys undecided, hash %x",
		r.Events, float64(r.Virtual)/float64(second), r.Answered, r.Unanswered, r.Refused, r.Mutations, r.Ballots, r.Undecided, r.Hash)
}

// report fails the test with all that is needed to understand and to replay a failure.
func report(t *testing.T, r Result) {
	t.Helper()
	if r.Failure == nil {
		return
	}
	only := ""
	if o := Draw(r.Options.Seed); o.On != r.Options.On {
		only = " -only=" + r.Options.Names()
	}
	t.Errorf("%v\n%v\n\n%s\n%s\nreplay: go test ./consensus/pacsim -run TestSeed -seed=%d%s -v",
		r.Options, r.Failure, r.Failure.State, r.Failure.Trace, r.Options.Seed, only)
}

// seconds is the wall time for fresh seeds: PACSIM_SECONDS, or a little.
func seconds() time.Duration {
	n, err := strconv.Atoi(os.Getenv("PACSIM_SECONDS"))
	if err != nil || n < 0 {
		n = 10
	}
	return time.Duration(n) * time.Second
}
