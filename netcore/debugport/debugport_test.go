package debugport

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/pprof/profile"
)

func get(t *testing.T, url string) (int, []byte) {
	t.Helper()
	c := http.Client{Timeout: time.Minute}
	defer c.CloseIdleConnections()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

func open(t *testing.T, c Counters) string {
	t.Helper()
	s, err := Start("127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + s.Addr()
}

func TestCounters(t *testing.T) {
	url := open(t, func() map[string]uint64 { return map[string]uint64{"log_syncs": 7} })
	_, body := get(t, url+"/debug/counters")
	var got map[string]uint64
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	for name := range runtimeCounters {
		if _, ok := got[name]; !ok {
			t.Errorf("no %s: a metric that this runtime does not have?", name)
		}
	}
	if got["log_syncs"] != 7 || got["go_allocs"] == 0 || got["go_goroutines"] == 0 {
		t.Errorf("counters: %v", got)
	}
}

// samples reads a profile and tells how many samples it has.
func samples(t *testing.T, url string) int {
	t.Helper()
	status, body := get(t, url)
	if status != http.StatusOK {
		t.Fatalf("%s: status %d: %s", url, status, body)
	}
	p, err := profile.ParseData(body)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return len(p.Sample)
}

// Each profile can be read, and a lock that is fought over shows in those that are about it.
func TestProfiles(t *testing.T) {
	url := open(t, nil)
	mu := new(sync.Mutex)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				time.Sleep(100 * time.Microsecond)
				mu.Unlock()
				time.Sleep(time.Millisecond) // a queue that never empties was there before the profile, and is not in it
			}
		})
	}
	defer wg.Wait()
	defer close(stop)
	for _, path := range []string{
		"/debug/mutex?seconds=1", "/debug/pprof/profile?seconds=1", "/debug/pprof/allocs", "/debug/block?seconds=1", "/debug/wall?seconds=1",
	} {
		if samples(t, url+path) > 0 || path == "/debug/pprof/profile?seconds=1" {
			continue
		}
		// On a busy machine a second may pass in which nobody fights over the lock.
		for tries := 0; samples(t, url+path) == 0; tries++ {
			if tries == 20 {
				t.Fatalf("%s: no samples", path)
			}
		}
	}
	for _, bad := range []string{"", "?seconds=0", "?seconds=x", "?seconds=301"} {
		if status, _ := get(t, url+"/debug/block"+bad); status != http.StatusBadRequest {
			t.Errorf("block%s: status %d", bad, status)
		}
	}
}

func TestLoopbackOnly(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "192.0.2.1:80", "[::]:0"} {
		if _, err := Start(address, nil); !errors.Is(err, ErrNotLoopback) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := Start("localhost", nil); err == nil {
		t.Error("an address without port is accepted")
	}
}
