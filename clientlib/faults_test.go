package clientlib_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/clientlib"
	"pegasus/clientlib/clienttest"
	"pegasus/netcore/proto"
)

// asked returns how many questions about tables the metas have got.
func asked(c *clienttest.Cluster) int { return c.Requests()[proto.CodeCMQueryPartitionConfigByIndex] }

// keyOf finds a hash key of a partition.
func keyOf(part, count uint64) []byte {
	for i := 0; ; i++ {
		if key := fmt.Appendf(nil, "k%d", i); proto.KeyHash(key)%count == part {
			return key
		}
	}
}

// oneClass checks that an error is of one class, and of the one that is wanted.
func oneClass(t *testing.T, what string, err, want error) {
	t.Helper()
	n := 0
	for _, class := range []error{clientlib.ErrRefused, clientlib.ErrRetriable, clientlib.ErrUnknownOutcome} {
		if errors.Is(err, class) {
			n++
		}
	}
	if n != 1 || !errors.Is(err, want) {
		t.Errorf("%s: %v is of %d classes, want %q", what, err, n, want)
	}
}

// A server dies under a thousand callers, and its partitions get another primary only after a while: all go on, reads without
// an error, and the metas hardly notice.
func TestServerKilled(t *testing.T) {
	c := clienttest.New(t, 3, 3, 4)
	_, table := dial(t, c, clientlib.Options{Timeout: 20 * time.Second})
	ctx := context.Background()
	want := fill(t, table, 50, 1)
	var wg sync.WaitGroup
	var doubtful atomic.Int32
	var over atomic.Bool
	before := asked(c)
	for w := range 1000 {
		wg.Go(func() {
			for i := w; !over.Load(); i++ {
				h, s, _ := strings.Cut(want[i%len(want)], "/")
				if w%10 == 0 {
					err := table.Set(ctx, b(h), b(s), b(h+"/"+s))
					if err != nil {
						doubtful.Add(1)
						oneClass(t, "set", err, clientlib.ErrUnknownOutcome)
					}
					continue
				}
				if v, err := table.Get(ctx, b(h), b(s)); err != nil || string(v) != h+"/"+s {
					t.Errorf("get: %q, %v", v, err)
				}
			}
		})
	}
	time.Sleep(50 * time.Millisecond) // some load first; nothing depends on how much
	start := time.Now()
	c.Kill(0)
	c.Move(0, -1)
	c.Move(3, -1)
	await(t, func() bool { return asked(c)-before >= 4 })
	c.Move(0, 1)
	c.Move(3, 2)
	if _, err := table.Get(ctx, keyOf(0, 4), nil); err != nil {
		t.Error(err)
	}
	if _, err := table.Get(ctx, keyOf(3, 4), nil); err != nil {
		t.Error(err)
	}
	over.Store(true)
	wg.Wait()
	took := time.Since(start)
	if n, most := asked(c)-before, 12+3*int(took/time.Second); n > most {
		t.Errorf("the metas were asked %d times in %v", n, took)
	}
	if doubtful.Load() > 100 {
		t.Errorf("%d writes are in doubt, of 100 writers", doubtful.Load())
	}
}

// A server stands still but its kernel accepts connections: its reads move with the partition, its writes are in doubt at their
// deadline at the latest, and while it stands still nothing is sent there.
func TestServerPaused(t *testing.T) {
	t.Parallel()
	c := clienttest.New(t, 1, 2, 2)
	_, table := dial(t, c, clientlib.Options{Timeout: 20 * time.Second})
	ctx := context.Background()
	key := keyOf(0, 2)
	if err := table.Set(ctx, key, nil, b("v")); err != nil {
		t.Fatal(err)
	}
	c.Stall(1, true) // replica 0; there is one meta
	var wg sync.WaitGroup
	wg.Go(func() {
		start := time.Now()
		if v, err := table.Get(ctx, key, nil); err != nil || string(v) != "v" || time.Since(start) > 8*time.Second {
			t.Errorf("get: %q, %v, after %v", v, err, time.Since(start))
		}
	})
	wg.Go(func() {
		start := time.Now()
		_, err := table.Incr(ctx, key, b("n"), 1)
		oneClass(t, "incr", err, clientlib.ErrUnknownOutcome)
		if time.Since(start) > 10*time.Second {
			t.Errorf("incr hung for %v", time.Since(start))
		}
	})
	before := asked(c)
	await(t, func() bool { return asked(c) > before }) // the silence makes it ask
	c.Move(0, 1)
	wg.Wait()
	if n, err := table.Incr(ctx, key, b("n"), 1); err != nil || n != 1 {
		t.Errorf("incr at the new primary: %d, %v", n, err)
	}
	c.Move(0, 0)
	c.Stall(1, false)
	if v, err := table.Get(ctx, key, nil); err != nil || string(v) != "v" {
		t.Errorf("get from the server that goes on: %q, %v", v, err)
	}
}

// The only server falls silent and comes back: requests are held back until it answers a sign of life.
func TestPausedServerIsProbed(t *testing.T) {
	t.Parallel()
	c := clienttest.New(t, 1, 1, 1)
	_, table := dial(t, c, clientlib.Options{Timeout: 30 * time.Second, DialTimeout: 200 * time.Millisecond})
	ctx := context.Background()
	if err := table.Set(ctx, b("k"), nil, b("v")); err != nil {
		t.Fatal(err)
	}
	c.Stall(1, true)
	got := make(chan error, 1)
	go func() {
		_, err := table.Get(ctx, b("k"), nil)
		got <- err
	}()
	_, err := table.Incr(ctx, b("n"), nil, 1)
	oneClass(t, "incr in flight", err, clientlib.ErrUnknownOutcome)
	// Now the circuit is open. What comes is not sent, so its end is no doubt.
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err = table.Incr(short, b("n"), nil, 1)
	oneClass(t, "incr while it is open", err, clientlib.ErrRetriable)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	c.Stall(1, false)
	if err := <-got; err != nil {
		t.Errorf("the read: %v", err)
	}
	if n, err := table.Incr(ctx, b("n"), nil, 1); err != nil || n != 1 {
		t.Errorf("incr: %d, %v", n, err)
	}
}

// A server comes back on another address.
func TestServerMovesAddress(t *testing.T) {
	c := clienttest.New(t, 1, 1, 2)
	_, table := dial(t, c, clientlib.Options{Timeout: 20 * time.Second})
	ctx := context.Background()
	if err := table.Set(ctx, b("k"), nil, b("v")); err != nil {
		t.Fatal(err)
	}
	c.Kill(0)
	got := make(chan error, 2)
	go func() {
		_, err := table.Get(ctx, b("k"), nil)
		got <- err
	}()
	go func() {
		_, err := table.Incr(ctx, b("n"), nil, 1)
		got <- err
	}()
	before := asked(c)
	await(t, func() bool { return asked(c) > before })
	c.Restart(t, 0)
	for range 2 {
		if err := <-got; err != nil && !errors.Is(err, clientlib.ErrUnknownOutcome) {
			t.Error(err)
		}
	}
	if n := asked(c) - before; n > 40 {
		t.Errorf("the meta was asked %d times", n)
	}
}

// holed is a connection that a switch turns into a black hole: what is written vanishes, nothing comes, and nobody says so.
type holed struct {
	net.Conn
	hole *atomic.Bool
	once sync.Once
	end  chan struct{}
}

func (h *holed) Write(b []byte) (int, error) {
	if h.hole.Load() {
		return len(b), nil
	}
	return h.Conn.Write(b)
}

func (h *holed) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	if h.hole.Load() {
		<-h.end
		return 0, net.ErrClosed
	}
	return n, err
}

func (h *holed) Close() error {
	h.once.Do(func() { close(h.end) })
	return h.Conn.Close()
}

// A connection whose other end is gone without a word.
func TestHalfOpenConnection(t *testing.T) {
	t.Parallel()
	c := clienttest.New(t, 1, 1, 1)
	holes := make(chan *atomic.Bool, 100)
	_, table := dial(t, c, clientlib.Options{
		Timeout: 20 * time.Second,
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			var d net.Dialer
			nc, err := d.DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}
			h := &holed{Conn: nc, hole: new(atomic.Bool), end: make(chan struct{})}
			if address == c.Replicas()[0] {
				holes <- h.hole
			}
			return h, nil
		},
	})
	ctx := context.Background()
	if err := table.Set(ctx, b("k"), nil, b("v")); err != nil {
		t.Fatal(err)
	}
	(<-holes).Store(true)
	var wg sync.WaitGroup
	wg.Go(func() {
		if v, err := table.Get(ctx, b("k"), nil); err != nil || string(v) != "v" {
			t.Errorf("get: %q, %v", v, err)
		}
	})
	wg.Go(func() {
		_, err := table.Incr(ctx, b("n"), nil, 1)
		oneClass(t, "incr", err, clientlib.ErrUnknownOutcome)
	})
	wg.Wait()
	if n, err := table.Incr(ctx, b("n"), nil, 1); err != nil || n != 1 {
		t.Errorf("incr on the new connection: %d, %v", n, err)
	}
}

// A server that does not read: Do never blocks and memory stays bounded; when it reads again, everything goes through.
func TestServerThatDoesNotRead(t *testing.T) {
	c := clienttest.New(t, 1, 1, 1)
	gate := make(chan struct{})
	_, table := dial(t, c, clientlib.Options{
		Timeout: 60 * time.Second,
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			var d net.Dialer
			nc, err := d.DialContext(ctx, "tcp", address)
			if err == nil && address == c.Replicas()[0] {
				nc = &gated{Conn: nc, gate: gate}
			}
			return nc, err
		},
	})
	put := proto.PutRequest{Key: []byte("\x00\x01k"), Value: make([]byte, 1<<20)}
	args := put.AppendArgs(nil)
	const calls = 100
	ended := make(chan error, calls)
	for range calls {
		table.Do(&clientlib.Call{Code: proto.CodePut, Hash: proto.KeyHash(b("k")), Args: args, OnDone: func(c *clientlib.Call) { ended <- c.Err }})
	}
	// The first wait for the connection, of which each tries again; the rest of what does not fit may wait too, or ends.
	close(gate)
	full := 0
	for range calls {
		err := <-ended
		if errors.Is(err, clientlib.ErrPipelineFull) {
			full++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n := c.Requests()[proto.CodePut]; n+full != calls {
		t.Errorf("%d written, %d refused for lack of room", n, full)
	}
}

type gated struct {
	net.Conn
	gate chan struct{}
}

func (g *gated) Write(b []byte) (int, error) {
	<-g.gate
	return g.Conn.Write(b)
}

// One of three metas is enough, whoever leads.
func TestMetasChange(t *testing.T) {
	c := clienttest.New(t, 3, 2, 2)
	client, table := dial(t, c, clientlib.Options{})
	ctx := context.Background()
	for _, leader := range []int{2, 1, 0, 2} {
		c.SetLeader(leader)
		c.Move(0, leader%2)
		if _, err := table.Get(ctx, keyOf(0, 2), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := client.OpenTable(ctx, "nothing"); !errors.Is(err, clientlib.ErrNoTable) {
			t.Fatal(err)
		}
	}
	c.KillMeta(0)
	c.KillMeta(2)
	c.SetLeader(1)
	c.Move(0, 1)
	before := asked(c)
	if _, err := table.Get(ctx, keyOf(0, 2), nil); err != nil {
		t.Error(err)
	}
	if n := asked(c) - before; n > 10 {
		t.Errorf("the last meta was asked %d times", n)
	}
	c.KillMeta(1)
	if _, err := table.Get(ctx, keyOf(1, 2), nil); err != nil {
		t.Errorf("without any meta: %v", err)
	}
}

// A table that is dropped is refused, without a storm; created again it works, and is another one.
func TestTableDroppedAndCreated(t *testing.T) {
	c := clienttest.New(t, 1, 2, 2)
	_, table := dial(t, c, clientlib.Options{Timeout: 10 * time.Second})
	ctx := context.Background()
	if err := table.Set(ctx, b("k"), nil, b("v")); err != nil {
		t.Fatal(err)
	}
	before := asked(c)
	c.DropTable()
	for range 5 {
		_, err := table.Incr(ctx, b("k"), nil, 1)
		oneClass(t, "incr", err, clientlib.ErrRefused)
		if !errors.Is(err, clientlib.ErrNoTable) {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			_, err := table.Get(ctx, b("k"), nil)
			oneClass(t, "get", err, clientlib.ErrRefused)
		})
	}
	wg.Wait()
	if n := asked(c) - before; n > 20 {
		t.Errorf("the meta was asked %d times", n)
	}
	c.CreateTable()
	if v, err := table.Get(ctx, b("k"), nil); err != nil || v != nil {
		t.Errorf("get from the new table: %q, %v", v, err)
	}
	if n, err := table.Incr(ctx, b("k"), nil, 1); err != nil || n != 1 {
		t.Errorf("incr: %d, %v", n, err)
	}
}

// The number of partitions doubles under load: nothing fails, nothing goes to the wrong one; a scan of the whole table does not
// pretend to be complete.
func TestPartitionsDouble(t *testing.T) {
	c := clienttest.New(t, 1, 2, 2)
	_, table := dial(t, c, clientlib.Options{})
	ctx := context.Background()
	want := fill(t, table, 40, 2)
	s, err := table.GetOrderedScanner(ctx, &clientlib.ScannerOptions{BatchSize: 4})
	if err != nil {
		t.Fatal(err)
	}
	before := asked(c)
	c.Split()
	var wg sync.WaitGroup
	for w := range 50 {
		wg.Go(func() {
			for i := range 20 {
				h, sk, _ := strings.Cut(want[(w+i)%len(want)], "/")
				if v, err := table.Get(ctx, b(h), b(sk)); err != nil || string(v) != h+"/"+sk {
					t.Errorf("get: %q, %v", v, err)
				}
			}
		})
	}
	wg.Wait()
	if table.Partitions() != 4 || asked(c)-before > 10 {
		t.Errorf("%d partitions, the meta was asked %d times", table.Partitions(), asked(c)-before)
	}
	var last error
	for _, err := range s.All(ctx) {
		last = err
	}
	if !errors.Is(last, clientlib.ErrPartitionsChanged) {
		t.Errorf("the scan ends with %v", last)
	}
	s, err = table.ResumeScanner(ctx, s.Token(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	again, err := table.GetOrderedScanner(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "a new scan", collect(t, again), want)
}

// A busy server is asked again, later and later, and is not asked about at meta.
func TestBusyServer(t *testing.T) {
	c := clienttest.New(t, 1, 1, 1)
	_, table := dial(t, c, clientlib.Options{Timeout: 20 * time.Second})
	ctx := context.Background()
	if err := table.Set(ctx, b("k"), nil, b("v")); err != nil {
		t.Fatal(err)
	}
	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) { return clienttest.Serve, proto.ErrBusy })
	before, meta, start := c.Requests()[proto.CodeIncr], asked(c), time.Now()
	_, err := table.Incr(ctx, b("n"), nil, 1)
	oneClass(t, "incr", err, clientlib.ErrRetriable)
	if !errors.Is(err, proto.ErrBusy) {
		t.Error(err)
	}
	if n := c.Requests()[proto.CodeIncr] - before; n != 5 || time.Since(start) < 200*time.Millisecond || asked(c) != meta {
		t.Errorf("%d requests in %v, the meta was asked %d times", n, time.Since(start), asked(c)-meta)
	}
}
