package clientlib_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"pegasus/clientlib"
	"pegasus/clientlib/clienttest"
)

// The examples run against a cluster in this process, which stands for real servers. It lives as long as the process.
var (
	exampleLife forExample
	example     = clienttest.New(&exampleLife, 3, 2, 4)
)

type forExample struct{ end []func() }

func (*forExample) Helper()                      {}
func (e *forExample) Cleanup(f func())           { e.end = append(e.end, f) }
func (*forExample) Fatalf(f string, args ...any) { log.Panicf(f, args...) }

func openExample() (*clientlib.Client, *clientlib.Table) {
	client, err := clientlib.Dial(clientlib.Options{Metas: example.Metas()})
	if err != nil {
		log.Panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	table, err := client.OpenTable(ctx, "temp")
	if err != nil {
		log.Panic(err)
	}
	return client, table
}

func Example() {
	client, err := clientlib.Dial(clientlib.Options{Metas: example.Metas()}) // "meta1:34601", "meta2:34601", "meta3:34601"
	if err != nil {
		log.Panic(err)
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	table, err := client.OpenTable(ctx, "temp")
	if err != nil {
		log.Panic(err)
	}
	if err := table.SetTTL(ctx, []byte("user1"), []byte("name"), []byte("Ada"), time.Hour); err != nil {
		log.Panic(err)
	}
	value, err := table.Get(ctx, []byte("user1"), []byte("name"))
	fmt.Printf("%s, %v\n", value, err)
	value, err = table.Get(ctx, []byte("user1"), []byte("address"))
	fmt.Println(value == nil, err)
	// Output:
	// Ada, <nil>
	// true <nil>
}

// What to do about errors depends on their class alone.
func Example_errors() {
	client, table := openExample()
	defer func() { _ = client.Close() }()
	_, err := table.Incr(context.Background(), make([]byte, 70000), nil, 1)
	switch {
	case errors.Is(err, clientlib.ErrRefused):
		fmt.Println("a mistake of the program:", errors.Is(err, clientlib.ErrKey))
	case errors.Is(err, clientlib.ErrRetriable):
		fmt.Println("not executed; later perhaps")
	case errors.Is(err, clientlib.ErrUnknownOutcome):
		fmt.Println("read it back before anything else")
	}
	// Output: a mistake of the program: true
}

func ExampleTable_MultiGetRange() {
	client, table := openExample()
	defer func() { _ = client.Close() }()
	ctx := context.Background()
	days := [][]byte{[]byte("2026-11-28"), []byte("2026-11-29"), []byte("2026-11-30")}
	if err := table.MultiSet(ctx, []byte("log"), days, [][]byte{[]byte("a"), []byte("b"), []byte("c")}); err != nil {
		log.Panic(err)
	}
	kvs, all, err := table.MultiGetRange(ctx, []byte("log"), []byte("2026-11-29"), nil)
	for _, kv := range kvs {
		fmt.Printf("%s: %s\n", kv.SortKey, kv.Value)
	}
	fmt.Println(all, err)
	// Output:
	// 2026-11-29: b
	// 2026-11-30: c
	// true <nil>
}

func ExampleTable_CheckAndSet() {
	client, table := openExample()
	defer func() { _ = client.Close() }()
	ctx := context.Background()
	for _, owner := range []string{"me", "you"} {
		r, err := table.CheckAndSet(ctx, []byte("lock"), []byte("owner"), clientlib.CheckTypeValueNotExist, nil,
			[]byte("owner"), []byte(owner), &clientlib.CheckAndSetOptions{SetValueTTLSeconds: 30, ReturnCheckValue: true})
		if err != nil {
			log.Panic(err)
		}
		fmt.Printf("%s: %v %q\n", owner, r.SetSucceed, r.CheckValue)
	}
	// Output:
	// me: true ""
	// you: false "me"
}

// Futures: many operations under way, no goroutine for any of them.
func ExampleTable_Async() {
	client, table := openExample()
	defer func() { _ = client.Close() }()
	async := table.Async()
	visits, likes := async.Incr([]byte("page"), []byte("visits"), 1), async.Incr([]byte("page"), []byte("likes"), 5)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	v, err1 := visits.Wait(ctx)
	l, err2 := likes.Wait(ctx)
	fmt.Println(v, l, errors.Join(err1, err2))
	// Output: 1 5 <nil>
}

func ExampleBatch() {
	client, table := openExample()
	defer func() { _ = client.Close() }()
	ctx := context.Background()
	batch := table.NewBatch()
	for i := range 100 {
		batch.Set(fmt.Appendf(nil, "batch%d", i), nil, fmt.Append(nil, i))
	}
	count := batch.SortKeyCount([]byte("nobody"))
	if err := batch.Commit(ctx); err != nil {
		log.Panic(err)
	}
	n, err := count.Wait(ctx)
	fmt.Println(n, err)
	values, err := table.BatchGet(ctx, []clientlib.CompositeKey{{HashKey: []byte("batch7")}, {HashKey: []byte("batch700")}})
	fmt.Printf("%s %v %v\n", values[0], values[1] == nil, err)
	// Output:
	// 0 <nil>
	// 7 true <nil>
}

// A scan of a whole table in the order of its keys, which stops and goes on later, perhaps in another process.
func ExampleTable_GetOrderedScanner() {
	client, table := openExample()
	defer func() { _ = client.Close() }()
	ctx := context.Background()
	for _, key := range []string{"o2", "o1", "o3"} {
		if err := table.Set(ctx, []byte(key), nil, []byte("ordered")); err != nil {
			log.Panic(err)
		}
	}
	options := clientlib.NewScanOptions()
	options.HashKeyFilter = clientlib.Filter{Type: clientlib.FilterTypeMatchPrefix, Pattern: []byte("o")}
	scanner, err := table.GetOrderedScanner(ctx, options)
	if err != nil {
		log.Panic(err)
	}
	_, hashKey, _, _, err := scanner.Next(ctx)
	fmt.Printf("%s, %v\n", hashKey, err)
	token := scanner.Token()
	_ = scanner.Close()

	if scanner, err = table.ResumeScanner(ctx, token, options); err != nil {
		log.Panic(err)
	}
	defer func() { _ = scanner.Close() }()
	for record, err := range scanner.All(ctx) {
		if err != nil {
			log.Panic(err)
		}
		fmt.Printf("%s\n", record.HashKey)
	}
	// Output:
	// o1, <nil>
	// o2
	// o3
}

func ExampleTable_NewBulkWriter() {
	client, table := openExample()
	defer func() { _ = client.Close() }()
	ctx := context.Background()
	w := table.NewBulkWriter(&clientlib.BulkOptions{MaxBytes: 1 << 20})
	for i := range 1000 {
		if err := w.Set(ctx, fmt.Appendf(nil, "bulk%d", i/10), fmt.Append(nil, i), []byte("v"), 0); err != nil {
			log.Panic(err)
		}
	}
	err := w.Close(ctx)
	p := w.Progress()
	fmt.Println(p.Written, p.Failed, p.Requests < 200, err)
	// Output: 1000 0 true <nil>
}

// counter counts what ends, as a metrics library would.
type counter struct{ ended, failed int }

func (c *counter) Observe(e clientlib.Event) {
	if e.Kind == clientlib.EventEnded {
		c.ended++
		if e.Err != nil {
			c.failed++
		}
	}
}

func ExampleObserver() {
	c := &counter{} // one caller here; real ones count atomically
	client, err := clientlib.Dial(clientlib.Options{Metas: example.Metas(), Observer: c})
	if err != nil {
		log.Panic(err)
	}
	table, err := client.OpenTable(context.Background(), "temp")
	if err != nil {
		log.Panic(err)
	}
	_, err = table.Exist(context.Background(), []byte("k"), nil)
	_ = client.Close()
	fmt.Println(c.ended, c.failed, err)
	// Output: 1 0 <nil>
}
