package onebox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pegasus/clientlib"
)

const rowsWritten = 200

func key(i int) (hash, sort, value []byte) {
	return fmt.Appendf(nil, "user%d", i), fmt.Appendf(nil, "s%d", i), fmt.Appendf(nil, "value %d", i)
}

func openTemp(t *testing.T, ctx context.Context, c *Cluster) *clientlib.Table {
	t.Helper()
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	table, err := client.OpenTable(ctx, "temp")
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func readAll(t *testing.T, ctx context.Context, c *Cluster, when string) {
	t.Helper()
	table := openTemp(t, ctx, c)
	for i := range rowsWritten {
		hash, sort, want := key(i)
		got, err := table.Get(ctx, hash, sort)
		if err != nil || string(got) != string(want) {
			t.Fatalf("%s: %s holds %q, %v, want %q", when, hash, got, err, want)
		}
	}
}

// The whole life of a cluster of real daemons: start, crash of each kind of node, stop, second start.
func TestLifeOfACluster(t *testing.T) {
	ctx := deadline(t, Timeout)
	c := Start(t, Options{Shards: 2})
	var status strings.Builder
	if err := c.Status(&status); err != nil {
		t.Fatalf("%v\n%s", err, &status)
	}
	table := openTemp(t, ctx, c)
	if n := table.Partitions(); n != 8 {
		t.Errorf("table temp has %d partitions", n)
	}
	for i := range rowsWritten {
		hash, sort, value := key(i)
		if err := table.Set(ctx, hash, sort, value); err != nil {
			t.Fatal(err)
		}
	}
	c.checkShardPorts(t, ctx)
	for _, name := range []string{"replica2", "meta1", "meta2", "meta3"} {
		if err := c.Kill(name); err != nil {
			t.Fatal(err)
		}
		status.Reset()
		if err := c.Status(&status); err == nil || !strings.Contains(status.String(), "down") {
			t.Errorf("with %s killed the status is good: %v\n%s", name, err, &status)
		}
		if err := c.Restart(name); err != nil {
			t.Fatal(err)
		}
		readAll(t, ctx, c, "after the crash of "+name)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	again := Start(t, Options{Dir: c.Dir, Bin: c.bin})
	if fmt.Sprint(again.Metas(), again.Replicas()) != fmt.Sprint(c.Metas(), c.Replicas()) {
		t.Error("the second start has other addresses")
	}
	readAll(t, ctx, again, "after a second start")
}

// checkShardPorts looks that a client's requests go to the ports of shards, not to the common ports.
func (c *Cluster) checkShardPorts(t *testing.T, ctx context.Context) {
	t.Helper()
	seen := connections{at: map[string]bool{}}
	client, err := clientlib.Dial(clientlib.Options{Metas: c.Metas(), Observer: &seen})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	table, err := client.OpenTable(ctx, "temp")
	if err != nil {
		t.Fatal(err)
	}
	for i := range rowsWritten {
		hash, sort, _ := key(i)
		if _, err := table.Get(ctx, hash, sort); err != nil {
			t.Fatal(err)
		}
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	shards := 0
	for at := range seen.at {
		if slices.Contains(c.Replicas(), at) {
			t.Errorf("requests went to the common port %s", at)
		}
		if !slices.Contains(c.Metas(), at) {
			shards++
		}
	}
	if shards < 3 {
		t.Errorf("connections to %v", seen.at)
	}
}

// connections notes where a client connects to.
type connections struct {
	mu sync.Mutex
	at map[string]bool
}

func (c *connections) Observe(e clientlib.Event) {
	if e.Kind == clientlib.EventConnected {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.at[e.Node] = true
	}
}
