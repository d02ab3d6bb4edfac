package clientlib_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/clientlib"
	"pegasus/clientlib/clienttest"
	"pegasus/netcore/proto"
)

// Reads that are slow at the primary are answered by a secondary, within the budget.
func TestHedgedReads(t *testing.T) {
	c := clienttest.New(t, 1, 3, 1)
	var hedged, ended atomic.Int32
	_, table := dial(t, c, clientlib.Options{
		Hedge: 0.1,
		Observer: observer(func(e clientlib.Event) {
			switch e.Kind {
			case clientlib.EventHedged:
				hedged.Add(1)
			case clientlib.EventEnded:
				ended.Add(1)
			}
		}),
	})
	ctx := context.Background()
	if err := table.Set(ctx, b("k"), nil, b("v")); err != nil {
		t.Fatal(err)
	}
	read := func() {
		t.Helper()
		if v, err := table.Get(ctx, b("k"), nil); err != nil || string(v) != "v" {
			t.Fatalf("get: %q, %v", v, err)
		}
	}
	for range 200 { // earns some budget, and learns what is usual
		read()
	}
	// One in ten is never answered by the primary.
	n := 0
	c.SetRule(func(_ int, req *proto.Request) (clienttest.Action, proto.ErrCode) {
		if n++; !req.Backup && n%10 == 0 {
			return clienttest.Ignore, proto.ErrOK
		}
		return clienttest.Serve, proto.ErrOK
	})
	start := time.Now()
	for range 50 {
		read()
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("50 reads took %v", took)
	}
	if h := hedged.Load(); h < 4 || h > ended.Load()/10+1 {
		t.Errorf("%d second attempts for %d operations", h, ended.Load())
	}
}

type observer func(clientlib.Event)

func (o observer) Observe(e clientlib.Event) { o(e) }

// A shard's port that a firewall keeps closed: requests go through the common port, until the other opens.
func TestShardPortClosed(t *testing.T) {
	c := clienttest.New(t, 1, 1, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	n, _ := strconv.Atoi(port)
	c.AnnounceShard(int32(n))
	var open atomic.Bool
	var direct atomic.Int32
	_, table := dial(t, c, clientlib.Options{Dial: func(ctx context.Context, address string) (net.Conn, error) {
		var d net.Dialer
		if address == l.Addr().String() {
			if !open.Load() {
				return nil, errors.New("refused")
			}
			direct.Add(1)
			address = c.Replicas()[0] // where the shard would be
		}
		return d.DialContext(ctx, "tcp", address)
	}})
	_ = l.Close() // it was there to reserve the port
	ctx := context.Background()
	for range 3 {
		if err := table.Set(ctx, b("k"), nil, b("v")); err != nil {
			t.Fatal(err)
		}
	}
	open.Store(true)
	await(t, func() bool {
		if _, err := table.Get(ctx, b("k"), nil); err != nil {
			t.Fatal(err)
		}
		return direct.Load() == 1
	})
}

// Names that stand for several servers, of which one works; names that change; an IPv6 address.
func TestMetasByName(t *testing.T) {
	c := clienttest.New(t, 1, 1, 1)
	_, port, err := net.SplitHostPort(c.Metas()[0])
	if err != nil {
		t.Fatal(err)
	}
	var looked atomic.Int32
	resolve := func(_ context.Context, host string) ([]string, error) {
		switch n := looked.Add(1); {
		case host == "metas.test":
			return []string{"127.0.0.9", "127.0.0.1"}, nil
		case host == "later.test" && n > 1:
			return []string{"127.0.0.1"}, nil
		}
		return nil, errors.New("no such host")
	}
	open := func(o clientlib.Options) error {
		client, err := clientlib.Dial(o)
		if err != nil {
			return err
		}
		defer func() { _ = client.Close() }()
		_, err = client.OpenTable(context.Background(), c.Table)
		return err
	}
	for _, name := range []string{"metas.test", "later.test"} {
		looked.Store(0)
		if err := open(clientlib.Options{Metas: []string{name + ":" + port}, Resolve: resolve}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := open(clientlib.Options{Metas: []string{"localhost:" + port}}); err != nil {
		t.Errorf("localhost: %v", err)
	}
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6")
	}
	defer func() { _ = l.Close() }()
	go func() { // a way from IPv6 to the meta
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", c.Metas()[0])
			if err != nil {
				return
			}
			go pipe(in, out)
			go pipe(out, in)
		}
	}()
	if err := open(clientlib.Options{Metas: []string{l.Addr().String()}}); err != nil {
		t.Errorf("IPv6: %v", err)
	}
}

func pipe(to, from net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			_ = to.Close()
			_ = from.Close()
			return
		}
	}
}

// Close ends everything: in flight, parked, and futures that nobody waits for yet.
func TestCloseEndsAll(t *testing.T) {
	c := clienttest.New(t, 1, 2, 2)
	var parked atomic.Int32
	client, table := dial(t, c, clientlib.Options{Observer: observer(func(e clientlib.Event) {
		if e.Kind == clientlib.EventRetry && strings.Contains(e.Err.Error(), "no primary") {
			parked.Add(1)
		}
	})})
	ctx := context.Background()
	if err := table.Set(ctx, keyOf(0, 2), nil, b("v")); err != nil {
		t.Fatal(err)
	}
	c.SetRule(func(_ int, req *proto.Request) (clienttest.Action, proto.ErrCode) {
		if req.GPID.Part == 1 {
			return clienttest.Serve, proto.ErrInvalidState
		}
		return clienttest.Ignore, proto.ErrOK
	})
	c.Move(1, -1)
	async := table.Async()
	var writes []interface {
		Wait(context.Context) (int64, error)
	}
	for range 50 {
		writes = append(writes, async.Incr(keyOf(0, 2), nil, 1), async.Incr(keyOf(1, 2), nil, 1))
	}
	read := async.Get(keyOf(0, 2), nil)
	// By then every second one has found often that there is no primary to send it to.
	await(t, func() bool { return c.Requests()[proto.CodeIncr] >= 50 && parked.Load() > 400 })
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	for i, w := range writes {
		_, err := w.Wait(ctx)
		want := clientlib.ErrUnknownOutcome
		if i%2 == 1 {
			want = clientlib.ErrRetriable // it was refused, and waits to be sent again
		}
		oneClass(t, "incr", err, want)
		if !errors.Is(err, clientlib.ErrClosed) {
			t.Fatal(err)
		}
	}
	if _, err := read.Wait(ctx); !errors.Is(err, clientlib.ErrClosed) {
		t.Error(err)
	}
}
