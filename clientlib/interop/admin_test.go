package interop

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/XiaoMi/pegasus-go-client/admin"
	"github.com/XiaoMi/pegasus-go-client/pegasus"
	"github.com/XiaoMi/pegasus-go-client/session"
)

func tables(t *testing.T, ctx context.Context, c admin.Client) map[string]bool {
	t.Helper()
	list, err := c.ListTables(ctx)
	must(t, err)
	names := map[string]bool{}
	for _, info := range list {
		names[info.Name] = true
		if len(info.Envs) != 0 {
			t.Errorf("table %s has envs %v", info.Name, info.Envs)
		}
	}
	return names
}

func TestAdmin(t *testing.T) {
	ctx := deadline(t)
	c := admin.NewClient(admin.Config{MetaServers: metas()})
	const name = "interop_admin"

	must(t, c.DropTable(ctx, name)) // not there: that is no error for this client
	for _, want := range []string{"temp", "stat"} {
		if !tables(t, ctx, c)[want] {
			t.Errorf("table %s is not listed", want)
		}
	}
	// The client waits until every partition has three members. Groups with fewer serve as well, so its wait may end with
	// the deadline; that the table exists and works is what counts.
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := c.CreateTable(short, name, 16); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if !tables(t, ctx, c)[name] {
		t.Fatal("the new table is not listed")
	}
	client := pegasus.NewClient(pegasus.Config{MetaServers: metas()})
	defer client.Close()
	tb, err := client.OpenTable(ctx, name)
	must(t, err)
	must(t, tb.Set(ctx, []byte("h"), []byte("s"), []byte("v")))
	got, err := tb.Get(ctx, []byte("h"), []byte("s"))
	must(t, err)
	same(t, "a value of the new table", string(got), "v")

	must(t, c.DropTable(ctx, name))
	if tables(t, ctx, c)[name] {
		t.Error("the dropped table is listed")
	}
	if _, err := client.OpenTable(ctx, name+"_never"); err == nil {
		t.Error("a table that never was could be opened")
	}
}

func TestRemoteCommand(t *testing.T) {
	ctx := deadline(t)
	for kind, addresses := range map[session.NodeType][]string{session.NodeTypeMeta: metas(), session.NodeTypeReplica: replicas()} {
		for _, a := range addresses {
			answer, err := admin.NewRemoteCmdClient(a, kind).Call(ctx, "help", nil)
			if err != nil || answer == "" {
				t.Errorf("help at %s: %q, %v", a, answer, err)
			}
		}
	}
}
