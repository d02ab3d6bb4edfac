package clientlib_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pegasus/clientlib"
	"pegasus/clientlib/clienttest"
	"pegasus/netcore/proto"
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, end := range exampleLife.end {
		end()
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func dial(t testing.TB, c *clienttest.Cluster, o clientlib.Options) (*clientlib.Client, *clientlib.Table) {
	t.Helper()
	o.Metas = c.Metas()
	client, err := clientlib.Dial(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	table, err := client.OpenTable(context.Background(), c.Table)
	if err != nil {
		t.Fatal(err)
	}
	return client, table
}

func b(s string) []byte { return []byte(s) }

func TestAdmin(t *testing.T) {
	c := clienttest.New(t, 3, 2, 4)
	c.SetLeader(2)
	client, _ := dial(t, c, clientlib.Options{})
	ctx := context.Background()
	if id, err := client.CreateTable(ctx, clientlib.TableSpec{Name: "temp", Partitions: 4, Replicas: 1}); err != nil || id != 2 {
		t.Errorf("create: %d, %v", id, err)
	}
	if nodes, err := client.ListNodes(ctx, proto.NodeInvalid); err != nil || len(nodes) != 2 {
		t.Errorf("nodes: %v, %v", nodes, err)
	}
	c.SetLeader(0) // the remembered leader forwards now, without saying where to
	if tables, err := client.ListTables(ctx, proto.AppInvalid); err != nil || len(tables) != 1 || tables[0].AppName != "temp" {
		t.Errorf("tables: %v, %v", tables, err)
	}
	if err := client.DropTable(ctx, "other"); err != nil {
		t.Errorf("drop: %v", err)
	}
	err := client.UpdateAppEnvs(ctx, "temp", map[string]string{"k": "v"})
	var se *clientlib.ServerError
	if !errors.Is(err, proto.ErrInvalidParameters) || !errors.As(err, &se) || se.Hint != "no such env" {
		t.Errorf("envs: %v", err)
	}
	if _, err := client.OpenTable(ctx, "other"); !errors.Is(err, proto.ErrObjectNotFound) {
		t.Errorf("open of nothing: %v", err)
	}
	if err := client.WaitHealthy(ctx, "temp", 1); err != nil {
		t.Errorf("healthy: %v", err)
	}
	c.Move(3, -1)
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := client.WaitHealthy(short, "temp", 1); err == nil {
		t.Error("healthy without a primary")
	}
	c.SetLeader(-1)
	short, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := client.ListNodes(short, proto.NodeInvalid); !errors.Is(err, clientlib.ErrTimeout) {
		t.Errorf("no leader: %v", err)
	}
}

// A request to a server that is no longer the primary finds the new one, reads and writes alike.
func TestPrimaryMoves(t *testing.T) {
	c := clienttest.New(t, 1, 3, 4)
	_, table := dial(t, c, clientlib.Options{})
	ctx := context.Background()
	for round := range 6 {
		for p := range 4 {
			c.Move(p, (p+round)%3)
		}
		for i := range 8 {
			key := fmt.Appendf(nil, "k%d", i)
			want := int64(round + 1)
			if n, err := table.Incr(ctx, key, nil, 1); err != nil || n != want {
				t.Fatalf("round %d: %d, %v", round, n, err)
			}
		}
	}
}

// While a partition has no primary, calls wait for one.
func TestWaitsForPrimary(t *testing.T) {
	c := clienttest.New(t, 1, 2, 1)
	c.Move(0, -1)
	_, table := dial(t, c, clientlib.Options{})
	asked := c.Requests()[proto.CodeCMQueryPartitionConfigByIndex]
	done := make(chan error, 1)
	go func() { done <- table.Set(context.Background(), b("k"), nil, b("v")) }()
	for c.Requests()[proto.CodeCMQueryPartitionConfigByIndex] < asked+3 {
		time.Sleep(time.Millisecond)
	}
	c.Move(0, 1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A lost connection: reads are repeated, writes are not and say so.
func TestLostConnection(t *testing.T) {
	c := clienttest.New(t, 1, 1, 1)
	_, table := dial(t, c, clientlib.Options{})
	ctx := context.Background()
	if err := table.Set(ctx, b("k"), nil, b("v")); err != nil {
		t.Fatal(err)
	}
	lose := 2
	c.SetRule(func(_ int, req *proto.Request) (clienttest.Action, proto.ErrCode) {
		if lose > 0 {
			lose--
			return clienttest.Close, proto.ErrOK
		}
		return clienttest.Serve, proto.ErrOK
	})
	if v, err := table.Get(ctx, b("k"), nil); err != nil || string(v) != "v" {
		t.Errorf("read: %q, %v", v, err)
	}
	lose = 1
	before := c.Requests()[proto.CodePut]
	err := table.Set(ctx, b("k"), nil, b("w"))
	if !errors.Is(err, clientlib.ErrUnknownOutcome) || !errors.Is(err, clientlib.ErrSessionReset) {
		t.Errorf("write: %v", err)
	}
	if n := c.Requests()[proto.CodePut] - before; n != 1 {
		t.Errorf("the write was sent %d times", n)
	}
	// A connection that broke while idle costs nobody an error for long.
	c.CloseConns(0)
	for deadline := time.Now().Add(5 * time.Second); ; {
		err := table.Set(ctx, b("k"), nil, b("w"))
		if err == nil {
			break
		}
		if !errors.Is(err, clientlib.ErrUnknownOutcome) || time.Now().After(deadline) {
			t.Fatalf("after the connection was closed: %v", err)
		}
	}
}

// What each error of a server leads to.
func TestServerErrors(t *testing.T) {
	c := clienttest.New(t, 1, 1, 1)
	_, table := dial(t, c, clientlib.Options{})
	ctx := context.Background()
	for _, tc := range []struct {
		code        proto.ErrCode
		write, read error // nil: repeated until it works
	}{
		{proto.ErrInvalidState, nil, nil},
		{proto.ErrObjectNotFound, nil, nil},
		{proto.ErrNotEnoughMember, nil, nil},
		{proto.ErrCapacityExceeded, nil, nil},
		{proto.ErrBusy, nil, nil},
		{proto.ErrACLDeny, proto.ErrACLDeny, proto.ErrACLDeny},
		{proto.ErrTimeout, clientlib.ErrUnknownOutcome, nil},
	} {
		times := 0
		c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) {
			if times > 0 {
				times--
				return clienttest.Serve, tc.code
			}
			return clienttest.Serve, proto.ErrOK
		})
		reset := func(n int) {
			c.Move(0, 0) // takes the lock that the rule runs under
			times = n
		}
		reset(2)
		if err := table.Set(ctx, b("k"), nil, b("v")); !errors.Is(err, tc.write) {
			t.Errorf("write answered %v: %v, want %v", tc.code, err, tc.write)
		}
		reset(2)
		if _, err := table.Get(ctx, b("k"), nil); !errors.Is(err, tc.read) {
			t.Errorf("read answered %v: %v, want %v", tc.code, err, tc.read)
		}
		reset(0)
	}
}

// While no meta server answers, what is known goes on working, and calls to a server that is gone fail in time, together.
func TestMetaOutage(t *testing.T) {
	c := clienttest.New(t, 1, 2, 2)
	var down atomic.Bool
	var dials atomic.Int32
	_, table := dial(t, c, clientlib.Options{
		Timeout: 300 * time.Millisecond, DialTimeout: 100 * time.Millisecond,
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			if down.Load() && address != c.Replicas()[1] {
				dials.Add(1)
				<-ctx.Done() // a black hole
				return nil, ctx.Err()
			}
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		},
	})
	ctx := context.Background()
	keys := [2][]byte{}
	for i := 0; keys[0] == nil || keys[1] == nil; i++ {
		key := fmt.Appendf(nil, "%d", i)
		keys[proto.KeyHash(key)%2] = key
		if err := table.Set(ctx, key, nil, key); err != nil {
			t.Fatal(err)
		}
	}
	down.Store(true)
	c.SetLeader(-1)
	c.CloseConns(0)
	c.CloseConns(1)
	if v, err := table.Get(ctx, keys[1], nil); err != nil || string(v) != string(keys[1]) {
		t.Errorf("partition 1: %q, %v", v, err)
	}
	dials.Store(0)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := table.Get(ctx, keys[0], nil); !errors.Is(err, clientlib.ErrTimeout) {
				t.Errorf("partition 0: %v", err)
			}
		})
	}
	wg.Wait()
	if n := dials.Load(); n >= 32 {
		t.Errorf("32 calls dialled %d times: they did not share the attempts", n)
	}
}

func TestDeadlines(t *testing.T) {
	c := clienttest.New(t, 1, 1, 1)
	_, table := dial(t, c, clientlib.Options{Timeout: 50 * time.Millisecond})
	ctx := context.Background()
	if err := table.Set(ctx, b("k"), nil, b("v")); err != nil {
		t.Fatal(err)
	}
	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) { return clienttest.Ignore, proto.ErrOK })
	if _, err := table.Get(ctx, b("k"), nil); !errors.Is(err, clientlib.ErrTimeout) {
		t.Errorf("read: %v", err)
	}
	err := table.Set(ctx, b("k"), nil, b("v"))
	if !errors.Is(err, clientlib.ErrTimeout) || !errors.Is(err, clientlib.ErrUnknownOutcome) {
		t.Errorf("write: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	seen := c.Requests()[proto.CodeGet]
	go func() {
		for c.Requests()[proto.CodeGet] == seen {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	long, stop := context.WithTimeout(canceled, time.Minute)
	defer stop()
	if _, err := table.Get(long, b("k"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) {
		return clienttest.Serve, proto.ErrInvalidState
	})
	if err := table.Set(ctx, b("k"), nil, b("v")); !errors.Is(err, clientlib.ErrTimeout) || errors.Is(err, clientlib.ErrUnknownOutcome) {
		t.Errorf("never executed: %v", err)
	}
}

// Many callers share a connection with few slots, and replies come out of order.
func TestPipeline(t *testing.T) {
	c := clienttest.New(t, 1, 1, 1)
	_, table := dial(t, c, clientlib.Options{Pipeline: 4})
	n := 0
	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) {
		if n++; n%2 == 0 {
			return clienttest.Serve, proto.ErrOK
		}
		return clienttest.Hold, proto.ErrOK
	})
	// A held reply needs a later request to flush it; this caller sees to that until all others have ended.
	var wg, flusher sync.WaitGroup
	var over atomic.Bool
	flusher.Go(func() {
		for !over.Load() {
			_, _ = table.Exist(context.Background(), b("flush"), nil)
		}
	})
	for w := range 16 {
		wg.Go(func() {
			for i := range 50 {
				key, want := fmt.Appendf(nil, "%d", w), fmt.Sprint(w, i)
				if err := table.Set(context.Background(), key, nil, b(want)); err != nil {
					t.Errorf("set: %v", err)
				}
				if v, err := table.Get(context.Background(), key, nil); err != nil || string(v) != want {
					t.Errorf("get: %q, %v, want %q", v, err, want)
				}
			}
		})
	}
	wg.Wait()
	over.Store(true)
	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) { return clienttest.Serve, proto.ErrOK })
	for range 2 { // flush what is still held
		_, _ = table.Exist(context.Background(), b("flush"), nil)
	}
	flusher.Wait()
}

// Do never blocks: without room the call ends at once.
func TestPipelineFull(t *testing.T) {
	c := clienttest.New(t, 1, 1, 1)
	_, table := dial(t, c, clientlib.Options{Pipeline: 2, Timeout: time.Minute})
	if _, err := table.Exist(context.Background(), b("k"), nil); err != nil {
		t.Fatal(err)
	}
	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) { return clienttest.Ignore, proto.ErrOK })
	ended := make(chan error, 3)
	for range 3 {
		table.Do(&clientlib.Call{
			Code: proto.CodeGet, Args: proto.AppendBlobArg(nil, []byte{0, 0}),
			OnDone: func(c *clientlib.Call) { ended <- c.Err },
		})
	}
	if err := <-ended; !errors.Is(err, clientlib.ErrPipelineFull) {
		t.Errorf("third call: %v", err)
	}
	c.CloseConns(0) // the other two are reads, and are sent again
	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) { return clienttest.Serve, proto.ErrOK })
	c.CloseConns(0)
	for range 2 {
		if err := <-ended; err != nil {
			t.Errorf("held call: %v", err)
		}
	}
}

func TestClose(t *testing.T) {
	c := clienttest.New(t, 1, 1, 1)
	client, table := dial(t, c, clientlib.Options{})
	if err := table.Set(context.Background(), b("k"), nil, b("v")); err != nil {
		t.Fatal(err)
	}
	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) { return clienttest.Ignore, proto.ErrOK })
	seen := c.Requests()[proto.CodePut]
	done := make(chan error, 1)
	go func() { done <- table.Set(context.Background(), b("k"), nil, b("v")) }()
	for c.Requests()[proto.CodePut] == seen {
		time.Sleep(time.Millisecond)
	}
	_ = client.Close()
	_ = client.Close()
	if err := <-done; !errors.Is(err, clientlib.ErrUnknownOutcome) || !errors.Is(err, clientlib.ErrClosed) {
		t.Errorf("in flight: %v", err)
	}
	if _, err := table.Get(context.Background(), b("k"), nil); !errors.Is(err, clientlib.ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}

func TestDialOptions(t *testing.T) {
	for _, o := range []clientlib.Options{
		{},
		{Metas: []string{"noport"}},
		{Metas: []string{"localhost:1"}, Pipeline: 1 << 20},
	} {
		if c, err := clientlib.Dial(o); err == nil {
			_ = c.Close()
			t.Errorf("%+v is accepted", o)
		}
	}
	refused := clientlib.Options{
		Metas: []string{"127.0.0.1:1"}, Timeout: 50 * time.Millisecond,
		Dial: func(context.Context, string) (net.Conn, error) { return nil, errors.New("refused") },
	}
	client, err := clientlib.Dial(refused)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if _, err := client.OpenTable(context.Background(), "temp"); !errors.Is(err, clientlib.ErrTimeout) {
		t.Errorf("no meta: %v", err)
	}
}

// A reply that nobody waits for, or that makes no sense, does no harm beyond its connection.
func TestGarbage(t *testing.T) {
	c := clienttest.New(t, 1, 1, 1)
	var poison atomic.Bool
	_, table := dial(t, c, clientlib.Options{
		MaxFrame: 1 << 16,
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			var d net.Dialer
			nc, err := d.DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}
			return &poisoned{Conn: nc, on: &poison}, nil
		},
	})
	if err := table.Set(context.Background(), b("k"), nil, b("v")); err != nil {
		t.Fatal(err)
	}
	poison.Store(true)
	if v, err := table.Get(context.Background(), b("k"), nil); err != nil || string(v) != "v" {
		t.Errorf("read over a poisoned connection: %q, %v", v, err)
	}
}

// poisoned replaces what the next read returns by garbage, once.
type poisoned struct {
	net.Conn
	on *atomic.Bool
}

func (p *poisoned) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if n > 0 && p.on.CompareAndSwap(true, false) {
		for i := range b[:n] {
			b[i] = 0x7f
		}
	}
	return n, err
}
