package interop

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/XiaoMi/pegasus-go-client/pegalog"
	"github.com/XiaoMi/pegasus-go-client/pegasus"
)

func TestMain(m *testing.M) {
	if os.Getenv("PEGASUS_METAS") == "" {
		fmt.Fprintln(os.Stderr, "there is no cluster to test against: `make interop` starts one")
		os.Exit(1)
	}
	// The client's own logger writes a file into the working directory.
	pegalog.SetLogger(log.New(io.Discard, "", 0))
	os.Exit(m.Run())
}

func metas() []string { return strings.Split(os.Getenv("PEGASUS_METAS"), ",") }

func replicas() []string { return strings.Split(os.Getenv("PEGASUS_REPLICAS"), ",") }

// patience is the deadline of everything in a test together.
const patience = 20 * time.Second

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// refusal is the deadline of calls that the server refuses: the client asks again until its time is over, whatever the
// reason, and then tells of the time only.
const refusal = 500 * time.Millisecond

func refused(t *testing.T, what string, call func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), refusal)
	defer cancel()
	if err := call(ctx); err == nil {
		t.Errorf("%s was accepted", what)
	}
}

// table opens table temp through all metas.
func table(t *testing.T) (context.Context, pegasus.TableConnector) {
	t.Helper()
	ctx := deadline(t)
	client := pegasus.NewClient(pegasus.Config{MetaServers: metas()})
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	tb, err := client.OpenTable(ctx, "temp")
	if err != nil {
		t.Fatal(err)
	}
	return ctx, tb
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// rows prints the answer of a multi_get on one line.
func rows(kvs []*pegasus.KeyValue) string {
	var parts []string
	for _, kv := range kvs {
		parts = append(parts, string(kv.SortKey)+"="+string(kv.Value))
	}
	return strings.Join(parts, " ")
}

func bytesOf(texts ...string) [][]byte {
	list := make([][]byte, len(texts))
	for i, s := range texts {
		list[i] = []byte(s)
	}
	return list
}
