package pacsim

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

func TestSurvey(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("SURVEY"))
	from, _ := strconv.Atoi(os.Getenv("SFROM"))
	for seed := uint64(from); seed < uint64(from+n); seed++ {
		r := Run(Draw(seed), nil)
		if r.Failure != nil {
			w := r.Failure.What
			if len(w) > 240 {
				w = w[:240]
			}
			fmt.Printf("seed %d %s p%d at %.2f: %s\n", seed, r.Failure.Kind, r.Failure.Part, float64(r.Failure.At)/1e9, w)
		}
		if r.Undecided > 0 {
			fmt.Printf("seed %d undecided %d\n", seed, r.Undecided)
		}
	}
}
