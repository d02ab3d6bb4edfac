package admin_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pegasus/clientlib"
	"pegasus/clientlib/admin"
	"pegasus/clientlib/clienttest"
	"pegasus/netcore/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func connect(t *testing.T, metas []string) admin.Admin {
	t.Helper()
	c, err := clientlib.Dial(clientlib.Options{Metas: metas, Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return admin.New(c)
}

// The leader is found whoever it is, and its errors come with their hints.
func TestMetaLeaderIsAsked(t *testing.T) {
	c := clienttest.New(t, 3, 2, 4)
	a := connect(t, c.Metas())
	ctx := context.Background()
	for _, leader := range []int{0, 2, 1} {
		c.SetLeader(leader)
		tables, err := a.ListTables(ctx, proto.AppAvailable, "", proto.PMTInvalid)
		if err != nil || len(tables) != 1 || tables[0].AppName != "temp" {
			t.Fatalf("meta %d leads: %v, %v", leader, tables, err)
		}
	}
	nodes, err := a.ListNodes(ctx, proto.NodeInvalid)
	if err != nil || len(nodes) != 2 {
		t.Errorf("nodes %v, %v", nodes, err)
	}
	err = a.SetEnvs(ctx, "temp", map[string]string{"k": "v"})
	var s *clientlib.ServerError
	if !errors.As(err, &s) || s.Code != proto.ErrInvalidParameters || s.Hint != "no such env" {
		t.Errorf("an error with a hint: %v", err)
	}
}

// What the meta servers do not know is said at once: the others would not know it either.
func TestUnknownRequestIsAskedOnce(t *testing.T) {
	c := clienttest.New(t, 3, 2, 4)
	a := connect(t, c.Metas())
	if _, err := a.RecallTable(context.Background(), 2, ""); !errors.Is(err, proto.ErrHandlerNotFound) {
		t.Errorf("recall: %v", err)
	}
	if n := c.Requests()[proto.CodeCMRecallApp]; n != 1 {
		t.Errorf("asked %d times", n)
	}
	if _, err := a.Jobs(context.Background()); err == nil {
		t.Error("jobs of a cluster without jobs")
	}
}

func TestNodesAreAskedByName(t *testing.T) {
	c := clienttest.New(t, 1, 2, 4)
	a := connect(t, c.Metas())
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := a.DiskInfo(ctx, c.Replicas()[1], ""); err == nil {
		t.Error("the fake server has no disks")
	}
	if n := c.Requests()[proto.CodeQueryDiskInfo]; n != 1 {
		t.Errorf("asked %d times", n)
	}
	c.Kill(0)
	if _, err := a.DiskInfo(ctx, c.Replicas()[0], ""); err == nil {
		t.Error("a dead server answered")
	}
}
