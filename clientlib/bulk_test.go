package clientlib_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pegasus/clientlib"
	"pegasus/clientlib/clienttest"
	"pegasus/netcore/proto"
)

func TestBulkWriter(t *testing.T) {
	c := clienttest.New(t, 1, 2, 4)
	_, table := dial(t, c, clientlib.Options{Pipeline: 32})
	ctx := context.Background()
	const records, limit = 5000, 64 << 10
	most, reports := 0, 0
	w := table.NewBulkWriter(&clientlib.BulkOptions{
		MaxBytes: limit, BatchBytes: 2 << 10, ProgressEvery: time.Nanosecond,
		Progress: func(p clientlib.BulkProgress) { most, reports = max(most, p.Pending), reports+1 },
	})
	for i := range records { // five records of a hash key follow each other
		if err := w.Set(ctx, fmt.Appendf(nil, "h%d", i/5), fmt.Append(nil, i), fmt.Appendf(nil, "v%d", i), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	p := w.Progress()
	if p.Accepted != records || p.Written != records || p.Failed != 0 || p.Pending != 0 || p.Bytes == 0 {
		t.Errorf("%+v", p)
	}
	if p.Requests > records/4 {
		t.Errorf("%d requests for %d records", p.Requests, records)
	}
	if most > limit || most == 0 || reports < 100 {
		t.Errorf("at most %d bytes held, %d reports", most, reports)
	}
	for i := 0; i < records; i += 97 {
		if v, err := table.Get(ctx, fmt.Appendf(nil, "h%d", i/5), fmt.Append(nil, i)); err != nil || string(v) != fmt.Sprintf("v%d", i) {
			t.Fatalf("record %d is %q, %v", i, v, err)
		}
	}
	if err := w.Set(ctx, nil, nil, nil, 0); !errors.Is(err, clientlib.ErrKey) {
		t.Errorf("no hash key: %v", err)
	}
}

// Lost answers end the stream, or are repeated; refusals end it.
func TestBulkWriterInTrouble(t *testing.T) {
	c := clienttest.New(t, 1, 1, 2)
	_, table := dial(t, c, clientlib.Options{Timeout: 5 * time.Second})
	ctx := context.Background()
	n := 0
	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) {
		if n++; n%50 == 10 {
			return clienttest.Close, proto.ErrOK
		}
		return clienttest.Serve, proto.ErrOK
	})
	load := func(o clientlib.BulkOptions) (clientlib.BulkProgress, error) {
		o.BatchBytes = 1 << 10
		w := table.NewBulkWriter(&o)
		for i := range 300 {
			if err := w.Set(ctx, fmt.Appendf(nil, "k%d", i), nil, b("v"), time.Hour); err != nil {
				return w.Progress(), errors.Join(err, w.Close(ctx))
			}
		}
		return w.Progress(), w.Close(ctx)
	}
	if _, err := load(clientlib.BulkOptions{}); !errors.Is(err, clientlib.ErrUnknownOutcome) {
		t.Errorf("lost answers: %v", err)
	}
	if _, err := load(clientlib.BulkOptions{RepeatDoubtful: true}); err != nil {
		t.Errorf("repeated: %v", err)
	}
	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) {
		return clienttest.Serve, proto.ErrACLDeny
	})
	if _, err := load(clientlib.BulkOptions{RepeatDoubtful: true}); !errors.Is(err, proto.ErrACLDeny) || !errors.Is(err, clientlib.ErrRefused) {
		t.Errorf("refused: %v", err)
	}
	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) { return clienttest.Ignore, proto.ErrOK })
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	w := table.NewBulkWriter(nil)
	if err := w.Set(short, b("k"), nil, b("v"), 0); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("flush: %v", err)
	}
	c.SetRule(func(int, *proto.Request) (clienttest.Action, proto.ErrCode) { return clienttest.Serve, proto.ErrOK })
}
