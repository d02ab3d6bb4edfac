package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/XiaoMi/pegasus-go-client/pegasus"
)

// onebox runs a command of the program that keeps the cluster.
func onebox(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("../../bin/pegasus-onebox", append([]string{"--dir", os.Getenv("PEGASUS_ONEBOX_DIR")}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// author writes numbers to a key that nobody else writes, and reads each back. After a write without an answer the key
// is left as it is, for that write may still happen, and the author goes on with another one.
type author struct {
	t     *testing.T
	tb    pegasus.TableConnector
	stem  string
	steps atomic.Int64 // writes that were read back

	lastError atomic.Value // of the last operation that failed
	left      []leftKey
}

type leftKey struct {
	key          string
	acked, tried int // 0: none
}

var faultSortKey = []byte("s")

func (a *author) write(quit <-chan struct{}) {
	for generation := 1; ; generation++ {
		key := fmt.Sprintf("%s.%d", a.stem, generation)
		acked, tried, again := a.fill(key, quit)
		a.left = append(a.left, leftKey{key, acked, tried})
		if !again {
			return
		}
	}
}

// fill writes to one key until a write fails (again is true) or quit is closed.
func (a *author) fill(key string, quit <-chan struct{}) (acked, tried int, again bool) {
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for {
		select {
		case <-quit:
			return acked, tried, false
		case <-pace.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		tried++
		err := a.tb.Set(ctx, []byte(key), faultSortKey, fmt.Append(nil, tried))
		cancel()
		if err != nil {
			a.lastError.Store(err.Error())
			return acked, tried, true
		}
		acked = tried
		ctx, cancel = context.WithTimeout(context.Background(), time.Second)
		value, err := a.tb.Get(ctx, []byte(key), faultSortKey)
		cancel()
		switch {
		case err != nil: // the key is good, its server is not
			a.lastError.Store(err.Error())
		case string(value) != fmt.Sprint(acked):
			a.t.Errorf("key %s holds %q after %d was acknowledged", key, value, acked)
		default:
			a.steps.Add(1)
		}
	}
}

// check reads the keys that were left behind.
func (a *author) check(ctx context.Context) {
	for _, k := range a.left {
		var value []byte
		for {
			short, cancel := context.WithTimeout(ctx, time.Second)
			var err error
			value, err = a.tb.Get(short, []byte(k.key), faultSortKey)
			cancel()
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				a.t.Errorf("key %s cannot be read: %v", k.key, err)
				return
			}
		}
		allowed := []string{fmt.Sprint(k.tried), fmt.Sprint(k.acked)}
		if k.acked == 0 {
			allowed = append(allowed, "")
		}
		if !slices.Contains(allowed, string(value)) {
			a.t.Errorf("key %s holds %q; %d was acknowledged last, %d was tried", k.key, value, k.acked, k.tried)
		}
	}
}

// faultPatience is the deadline of everything together. The client waits seconds before it connects again.
const faultPatience = 90 * time.Second

// TestServerKilled kills a server under the load of the official client. What it was told must be true, and it must find
// its way to the new primaries and back by itself.
func TestServerKilled(t *testing.T) {
	if os.Getenv("PEGASUS_ONEBOX_DIR") == "" {
		t.Skip("this cluster is not one to break")
	}
	_, tb := table(t)
	ctx, cancel := context.WithTimeout(context.Background(), faultPatience)
	defer cancel()

	var authors []*author
	var wg sync.WaitGroup
	quit := make(chan struct{})
	for i := range 16 { // more than partitions
		a := &author{t: t, tb: tb, stem: fmt.Sprintf("fault%d", i)}
		authors = append(authors, a)
		wg.Add(1)
		go func() {
			defer wg.Done()
			a.write(quit)
		}()
	}
	end := sync.OnceFunc(func() { close(quit); wg.Wait() })
	defer end()

	progress := func(when string) {
		t.Helper()
		for _, a := range authors {
			for from := a.steps.Load(); a.steps.Load() < from+3; {
				select {
				case <-ctx.Done():
					t.Fatalf("%s: %s got stuck, the last error was %v", when, a.stem, a.lastError.Load())
				case <-time.After(10 * time.Millisecond):
				}
			}
		}
	}
	progress("at first")
	const name = "replica2"
	onebox(t, "kill", name)
	progress("without " + name)
	onebox(t, "restart", name)
	progress("with " + name + " back")
	end()
	steps, keys := int64(0), 0
	for _, a := range authors {
		a.check(ctx)
		steps, keys = steps+a.steps.Load(), keys+len(a.left)
	}
	t.Logf("%d writes were acknowledged and read back, %d keys were left behind", steps, keys)
}
