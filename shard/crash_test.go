package shard

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"pegasus/netcore/proto"
)

// childEnv holds the orders of a process that runs a node until it is killed.
const childEnv = "PEGASUS_SHARD_TEST_CHILD"

type childOrders struct {
	Dir, Meta string
	Shards    int
	Port      int
}

func childOptions(o childOrders) Options {
	opts := baseOptions(o.Dir, o.Shards, o.Port, o.Meta)
	// Small memtables, so that kills come between flushes of some partitions and not of others.
	opts.Store.WriteBufferBytes = 128 << 10
	opts.Logger = zap.NewNop()
	return opts
}

func runChild() {
	var o childOrders
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &o); err != nil {
		panic(err)
	}
	opts := childOptions(o)
	opts.OnFatal = func(err error) { panic(err) }
	if _, err := Start(opts); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	select {}
}

// writer puts rising numbers into keys of its own and remembers the last one acknowledged for each.
type writer struct {
	id    int
	acked map[string]int // key -> number
	sent  map[string]int
}

// run writes until the connection ends.
func (w *writer) run(addr string, partitions int32) error {
	cl, err := tryDial(addr)
	if err != nil {
		return err
	}
	defer cl.conn.Close()
	type sent struct {
		key string
		n   int
	}
	inFlight := map[int32]sent{}
	for i := 0; ; i++ {
		for len(inFlight) < 32 {
			key := fmt.Sprintf("w%d-%d", w.id, i%50)
			i++
			w.sent[key]++
			g, h := partOf(1, partitions, key)
			value := fmt.Sprintf("%d %s", w.sent[key], stuffing)
			inFlight[cl.add(proto.CodePut, g, h, putArgs(key, "s", value))] = sent{key, w.sent[key]}
		}
		if _, err := cl.conn.Write(cl.out); err != nil {
			return nil
		}
		cl.out = cl.out[:0]
		for range 16 {
			r, err := cl.read()
			if err != nil {
				return nil
			}
			s, ok := inFlight[r.Seq]
			if !ok {
				return fmt.Errorf("reply to %d, which is not in flight", r.Seq)
			}
			delete(inFlight, r.Seq)
			if r.Code() == proto.ErrOK {
				w.acked[s.key] = max(w.acked[s.key], s.n)
			}
		}
	}
}

var stuffing = string(make([]byte, 300))

// A process that is killed under load comes back with everything that it acknowledged, also with another number of shards.
func TestKilledNodeKeepsWhatItAcknowledged(t *testing.T) {
	const partitions = 6
	meta := newFakeMeta(t)
	dir := t.TempDir()
	writers := make([]*writer, 4)
	for i := range writers {
		writers[i] = &writer{id: i, acked: map[string]int{}, sent: map[string]int{}}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	shards := []int{2, 3, 1, 2, 2, 4}
	if raceEnabled || testing.Short() {
		shards = shards[:3]
	}
	made := false
	for round, n := range shards {
		o := childOrders{Dir: dir, Meta: meta.addr(), Shards: n, Port: freePorts(t, n)}
		orders, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		hellos := get(meta, func() int { return meta.hellos })
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childEnv+"="+string(orders))
		child.Stderr = os.Stderr
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		killed := false
		kill := func() {
			if !killed {
				killed = true
				child.Process.Kill()
				child.Wait()
			}
		}
		defer kill()
		eventually(t, "the child says hello", func() bool { return get(meta, func() int { return meta.hellos }) > hellos })
		if !made {
			made = true
			meta.table(1, partitions, nil)
		}
		addr := "127.0.0.1:" + strconv.Itoa(o.Port)
		waitServed(t, addr, partitions)
		verifyAcked(t, addr, partitions, writers, fmt.Sprintf("round %d", round))
		var wg sync.WaitGroup
		for _, w := range writers {
			wg.Go(func() {
				if err := w.run(addr, partitions); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Duration(200+rng.IntN(300)) * time.Millisecond) // the load, not a synchronisation
		kill()
		wg.Wait()
		if t.Failed() {
			return
		}
	}
	opts := childOptions(childOrders{Dir: dir, Meta: meta.addr(), Shards: 2, Port: freePorts(t, 2)})
	node, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := node.Stop(within(t)); err != nil {
			t.Error(err)
		}
	}()
	waitServed(t, opts.Listen, partitions)
	verifyAcked(t, opts.Listen, partitions, writers, "at the end")
	total := 0
	for _, w := range writers {
		for _, n := range w.acked {
			total += n
		}
	}
	if total < 100 {
		t.Errorf("only %d writes were acknowledged", total)
	}
}

// waitServed waits until every partition answers a get.
func waitServed(t *testing.T, addr string, partitions int32) {
	t.Helper()
	cl := dialNode(t, addr)
	for i := range partitions {
		eventually(t, "partition answers", func() bool {
			r := cl.call(proto.CodeGet, proto.GPID{App: 1, Part: i}, 0, keyArgs("x", "y"))
			return r.Code() == proto.ErrOK
		})
	}
}

func verifyAcked(t *testing.T, addr string, partitions int32, writers []*writer, when string) {
	t.Helper()
	cl := dialNode(t, addr)
	for _, w := range writers {
		for key, n := range w.acked {
			v, _ := cl.get(1, partitions, key, "s")
			var got int
			fmt.Sscan(v, &got)
			// Later writes may have been done without having been acknowledged, earlier ones must not be back.
			if got < n || got > w.sent[key] {
				t.Fatalf("%s: %s is %d; %d was acknowledged, %d sent", when, key, got, n, w.sent[key])
			}
		}
	}
}
