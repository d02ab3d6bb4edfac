// Package faults breaks real clusters while clients work on them, and checks what the clients saw: every history must be
// linearizable per key, every acknowledged write must be there at the end, and what the fault leaves able to serve must
// serve. It knows the daemons from outside only: processes, signals, networks, and the client protocol.
//
// `go test` runs the scenarios every change must survive; `make faults SECONDS=n` runs all of them, and then breaks one
// cluster in random ways for n seconds.
package faults

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"pegasus/clientlib"
	"pegasus/conf/onebox"
)

const (
	table      = "faults"
	partitions = 6
	replicas   = 3

	// patience bounds every wait for the cluster to do what it should, far beyond what it should need.
	patience = 30 * time.Second
	look     = 20 * time.Millisecond
)

// world is a cluster under test.
type world struct {
	*onebox.Cluster
	t      *testing.T
	client *clientlib.Client
}

// long skips a scenario that plain `go test` has no time for: together they take minutes.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv(envSeconds) == "" {
		t.Skip("takes long: make faults runs it")
	}
}

func open(t *testing.T, o onebox.Options) *world {
	t.Helper()
	o.Shards = 2
	o.Tables = []onebox.Table{{Name: table, Partitions: partitions, Replicas: replicas}}
	w := &world{Cluster: onebox.Start(t, o), t: t}
	w.client = w.dial()
	w.healthy()
	return w
}

func (w *world) dial() *clientlib.Client {
	w.t.Helper()
	client, err := w.Client()
	w.ok(err)
	w.t.Cleanup(func() { _ = client.Close() })
	return client
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// healthy waits until every partition has all its members and serves.
func (w *world) healthy() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w.ok(w.client.WaitHealthy(ctx, table, replicas))
}

// primaries returns the name of the node that leads each partition, as the meta leader has it.
func (w *world) primaries() (names []string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cfg, err := w.client.QueryConfig(ctx, table)
	w.ok(err)
	byAddress := map[string]string{}
	for _, n := range w.Nodes {
		byAddress[n.Address] = n.Name
	}
	for i := range cfg.Partitions {
		names = append(names, byAddress[cfg.Partitions[i].Primary.String()])
	}
	return names
}

// leads returns the partitions that a node leads.
func (w *world) leads(node string) (parts []int) {
	w.t.Helper()
	for p, n := range w.primaries() {
		if n == node {
			parts = append(parts, p)
		}
	}
	return parts
}

// busiest returns the replica server that leads the most partitions.
func (w *world) busiest() string {
	w.t.Helper()
	count := map[string]int{}
	best := ""
	for _, n := range w.primaries() {
		if count[n]++; count[n] > count[best] {
			best = n
		}
	}
	return best
}

func names(k onebox.Kind, c *onebox.Cluster) (list []string) {
	for _, n := range c.Nodes {
		if n.Kind == k {
			list = append(list, n.Name)
		}
	}
	return list
}

func everything() []int {
	all := make([]int, partitions)
	for p := range all {
		all[p] = p
	}
	return all
}

// eventually waits until check does not fail any more, or returns its last failure.
func eventually(limit time.Duration, check func() error) error {
	end := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("after %v: %w", limit, err)
		}
		time.Sleep(look)
	}
}
