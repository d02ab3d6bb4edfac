package clientlib

import (
	"context"
	"errors"
	"sync"
	"time"

	"pegasus/netcore/proto"
)

// BulkOptions are the options of a BulkWriter. nil or zero fields mean the defaults.
type BulkOptions struct {
	// MaxBytes bounds the memory of records that were accepted and not yet acknowledged. Default 32 MiB.
	MaxBytes int
	// BatchBytes is how much is gathered for a partition before it is sent. Default 64 KiB.
	BatchBytes int
	// RepeatDoubtful sends records again whose answer was lost. It is right when nobody else writes them meanwhile, as in a
	// load; otherwise such a record ends the stream with ErrUnknownOutcome.
	RepeatDoubtful bool
	// Progress, if not nil, is called about every ProgressEvery (default 1 s) and at the end, on the goroutine that calls
	// Set, Flush or Close.
	Progress      func(BulkProgress)
	ProgressEvery time.Duration
}

// BulkProgress counts records.
type BulkProgress struct {
	Accepted, Written, Failed int64
	Bytes                     int64 // keys and values written
	Requests                  int64 // that carried them
	Pending                   int   // bytes of memory held
}

// BulkWriter writes a stream of records. It gathers them by partition and sends each batch at once; records of one hash key
// that follow each other travel in one request. It is for one goroutine. Records of one key must be given once between two
// calls of Flush, for what is in flight together has no order.
type BulkWriter struct {
	t    *Table
	opt  BulkOptions
	open map[int32]*bulkBatch // by partition; each has something
	told time.Time

	mu      sync.Mutex
	count   BulkProgress
	flying  int   // requests in flight
	err     error // the first
	changed chan struct{}
}

// bulkBatch is what is gathered for a partition.
type bulkBatch struct {
	ready []*bulkRequest
	bytes int

	// The request that is being gathered: records of one hash key with one expiry.
	hashKey   []byte
	expire    int32
	sortKeys  [][]byte
	values    [][]byte
	size      int
	gathering bool
}

// bulkRequest is a PUT or MULTI_PUT.
type bulkRequest struct {
	Call
	w       *BulkWriter
	records int64
	payload int64
	held    int
}

const (
	bulkMaxRequest = 128 << 10 // bytes of records in one request; servers refuse writes of 1 MiB
	bulkOverhead   = 200       // bytes that are counted for a record beside its own
)

// NewBulkWriter returns a writer. It must be closed.
func (t *Table) NewBulkWriter(o *BulkOptions) *BulkWriter {
	w := &BulkWriter{t: t, open: map[int32]*bulkBatch{}, told: time.Now(), changed: make(chan struct{}, 1)}
	if o != nil {
		w.opt = *o
	}
	if w.opt.MaxBytes <= 0 {
		w.opt.MaxBytes = 32 << 20
	}
	if w.opt.BatchBytes <= 0 {
		w.opt.BatchBytes = 64 << 10
	}
	if w.opt.ProgressEvery <= 0 {
		w.opt.ProgressEvery = time.Second
	}
	return w
}

// Set accepts a record, which is written before Flush or Close returns. It waits while MaxBytes are held. An error is the
// first of any record, and ends the stream; which records were written is then unknown but for the counts.
func (w *BulkWriter) Set(ctx context.Context, hashKey, sortKey, value []byte, ttl time.Duration) error {
	if len(hashKey) == 0 || len(hashKey) > maxHashKey {
		return w.t.refused(proto.CodePut, ErrKey)
	}
	size := len(hashKey) + len(sortKey) + len(value) + bulkOverhead
	if err := w.reserve(ctx, size); err != nil {
		return err
	}
	r := w.t.routing.Load()
	part := r.m.Partition(proto.KeyHash(hashKey))
	b := w.open[part]
	if b == nil {
		b = &bulkBatch{}
		w.open[part] = b
	}
	expire := expireAt(ttl)
	if b.gathering && (string(b.hashKey) != string(hashKey) || b.expire != expire || b.size+size > bulkMaxRequest) {
		w.seal(b)
	}
	if !b.gathering {
		b.gathering, b.hashKey, b.expire = true, append([]byte(nil), hashKey...), expire
	}
	b.sortKeys = append(b.sortKeys, append([]byte(nil), sortKey...))
	b.values = append(b.values, append([]byte(nil), compressed(w.t.client.opt.Compressor, value)...))
	b.size += size
	b.bytes += size
	if b.bytes >= w.opt.BatchBytes {
		delete(w.open, part)
		return w.send(ctx, b)
	}
	w.report(false)
	return nil
}

// reserve waits for memory.
func (w *BulkWriter) reserve(ctx context.Context, size int) error {
	for {
		w.mu.Lock()
		err, free, flying := w.err, w.count.Pending+size <= w.opt.MaxBytes || w.count.Pending == 0, w.flying
		if err == nil && free {
			w.count.Pending += size
			w.count.Accepted++
		}
		w.mu.Unlock()
		if err != nil || free {
			return err
		}
		if flying == 0 { // all memory is in batches that wait to grow
			if err := w.sendAll(ctx); err != nil {
				return err
			}
			continue
		}
		if err := w.wait(ctx); err != nil {
			return err
		}
	}
}

// wait returns when a request has ended, or ctx has.
func (w *BulkWriter) wait(ctx context.Context) error {
	t := time.NewTimer(w.opt.ProgressEvery)
	defer t.Stop()
	select {
	case <-w.changed:
	case <-t.C:
	case <-ctx.Done():
		return &OpError{Op: "BULK", Table: w.t.name, Partition: -1, Class: ErrUnknownOutcome, Cause: ctx.Err()}
	}
	w.report(false)
	return nil
}

// seal makes a request of what is gathered.
func (w *BulkWriter) seal(b *bulkBatch) {
	r := &bulkRequest{w: w, records: int64(len(b.sortKeys)), held: b.size}
	r.Hash = proto.KeyHash(b.hashKey)
	r.OnDone = r.ended
	if len(b.sortKeys) == 1 {
		raw, _ := RawKey(nil, b.hashKey, b.sortKeys[0]) // the length was checked
		put := proto.PutRequest{Key: raw, Value: b.values[0], Expire: b.expire}
		r.Code, r.Args = proto.CodePut, put.AppendArgs(nil)
	} else {
		req := proto.MultiPutRequest{HashKey: b.hashKey, Expire: b.expire}
		for i, k := range b.sortKeys {
			req.KVs.AddKeyValue(proto.KeyValue{Key: k, Value: b.values[i]})
		}
		r.Code, r.Args = proto.CodeMultiPut, req.AppendArgs(nil)
	}
	r.payload = int64(b.size) - r.records*bulkOverhead
	b.ready = append(b.ready, r)
	b.gathering, b.hashKey, b.sortKeys, b.values, b.size = false, nil, nil, nil, 0
}

// send starts the requests of a batch.
func (w *BulkWriter) send(ctx context.Context, b *bulkBatch) error {
	if b.gathering {
		w.seal(b)
	}
	w.mu.Lock()
	w.flying += len(b.ready)
	w.count.Requests += int64(len(b.ready))
	w.mu.Unlock()
	flusher := &w.t.client.flusher
	flusher.expect()
	for _, r := range b.ready {
		for w.t.do(&r.Call) {
			flusher.leave(false) // or there will never be room
			r.conn.Load().waitRoom(ctx)
			flusher.expect()
			if ctx.Err() != nil {
				r.settle(r.failure(ErrRetriable, ctx.Err()))
				break
			}
		}
	}
	flusher.leave(false)
	w.report(false)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *BulkWriter) sendAll(ctx context.Context) error {
	var first error
	for part, b := range w.open {
		delete(w.open, part)
		if err := w.send(ctx, b); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// ended runs on a goroutine of the client.
func (r *bulkRequest) ended(*Call) {
	err := r.Err
	if err == nil {
		var u proto.UpdateResponse
		if derr := u.DecodeResult(r.Result); derr != nil {
			err = r.failure(ErrUnknownOutcome, joined{ErrReply, derr})
		} else if u.Error != proto.StorageOK {
			err = statusError(&r.Call, u.Error)
		}
	}
	switch {
	case errors.Is(err, ErrPipelineFull):
		return // send sees it, and starts the request again
	case errors.Is(err, ErrUnknownOutcome) && r.w.opt.RepeatDoubtful && !errors.Is(err, ErrClosed):
		r.again()
		return
	}
	r.settle(err)
}

// again sends the request once more, off this goroutine, since there may be no room.
func (r *bulkRequest) again() {
	t := r.w.t
	now := r.prepare(t, t.client)
	r.table = t
	t.client.clerk.park(&r.Call, now+roomPause, nil)
}

func (r *bulkRequest) settle(err error) {
	w := r.w
	w.mu.Lock()
	w.flying--
	w.count.Pending -= r.held
	if err != nil {
		w.count.Failed += r.records
		if w.err == nil {
			w.err = err
		}
	} else {
		w.count.Written += r.records
		w.count.Bytes += r.payload
	}
	w.mu.Unlock()
	pulse(w.changed)
}

// Flush sends what is gathered and returns when all records that were accepted are written, or with the first error.
func (w *BulkWriter) Flush(ctx context.Context) error {
	if err := w.sendAll(ctx); err != nil {
		return err
	}
	for {
		w.mu.Lock()
		err, flying := w.err, w.flying
		w.mu.Unlock()
		if err != nil || flying == 0 {
			return err
		}
		if err := w.wait(ctx); err != nil {
			return err
		}
	}
}

// Close is Flush for the last time; it waits for what is in flight also after an error.
func (w *BulkWriter) Close(ctx context.Context) error {
	err := w.Flush(ctx)
	for {
		w.mu.Lock()
		flying := w.flying
		w.mu.Unlock()
		if flying == 0 || ctx.Err() != nil {
			break
		}
		_ = w.wait(ctx) // ctx is looked at above
	}
	w.report(true)
	return err
}

// Progress returns the counts so far.
func (w *BulkWriter) Progress() BulkProgress {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

func (w *BulkWriter) report(now bool) {
	if w.opt.Progress != nil && (now || time.Since(w.told) >= w.opt.ProgressEvery) {
		w.told = time.Now()
		w.opt.Progress(w.Progress())
	}
}
