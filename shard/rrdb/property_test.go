package rrdb_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pegasus/engine"
	"pegasus/engine/mem"
	"pegasus/netcore/proto"
	"pegasus/shard/rrdb"
)

const testNow = 1000 // seconds since engine.EpochOffset

func testEnv() *rrdb.Env {
	return &rrdb.Env{
		GPID: proto.GPID{App: 3, Part: 1}, Server: []byte(serverName), NowEpoch: testNow, TimestampUS: 1, ClusterID: 1,
		PartitionVersion: -1, DataVersion: engine.DataV1, Limits: rrdb.DefaultLimits,
	}
}

// Few names, with all that matters about order: lengths, prefixes of each other, and the byte 0xff.
var (
	worldHashKeys = []string{"a", "a", "a", "", "b", "ab", "\xff\xff"}
	worldSortKeys = []string{"", "a", "aa", "ab", "abb", "b", "ba", "bb", "\xff", "\xff\xffa"}
	worldExpiries = []uint32{0, 0, 0, 0, 1, testNow, testNow + 1, 1 << 31}

	hashKeys = rapid.SampledFrom(worldHashKeys)
	sortKeys = rapid.SampledFrom(worldSortKeys)
	patterns = rapid.SampledFrom([]string{"", "a", "b", "ab", "\xff"})
	filters  = rapid.Map(rapid.Int32Range(0, 3), func(n int32) proto.FilterType { return proto.FilterType(n) })
)

// TestMain asks for more than the hundred cases of the default: one costs some ten microseconds.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("rapid.checks", "5000"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// world is a store, the model of it, and the models of the past.
type world struct {
	t       *rapid.T
	store   *mem.Store
	now     model
	history []model
	random  *rand.Rand
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, random: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)), history: []model{nil}}
	cold := max(0, w.random.IntN(6)-2) // of four blocks
	w.store = mem.New(mem.Options{WouldBlock: func([]byte) bool { return w.random.IntN(4) < cold }})
	for range w.random.IntN(40) {
		w.write()
	}
	return w
}

// write changes one record. Names come from few, so that ranges have neighbours.
func (w *world) write() {
	pick := func(from []string) string { return from[w.random.IntN(len(from))] }
	key := rawKey(pick(worldHashKeys), pick(worldSortKeys))
	var b engine.BatchBuilder
	if w.random.IntN(5) == 0 {
		b.Delete([]byte(key))
		w.now = w.now.put(key, 0, nil)
	} else {
		value, expire := pick(worldSortKeys), worldExpiries[w.random.IntN(len(worldExpiries))]
		b.Put([]byte(key), expire, 0, []byte(value))
		w.now = w.now.put(key, expire, &value)
	}
	if err := w.store.Apply(w.store.AppliedDecree()+1, b.Bytes()); err != nil {
		w.t.Fatal(err)
	}
	w.history = append(w.history, w.now)
}

// finish runs a read in slices of any size, in memory as long as it can and wants to, with writes in between. It returns
// the models of the moments in which the read may have taken its snapshot.
func (w *world) finish(t *rapid.T, read rrdb.Read) []model {
	first := len(w.history) - 1
	tier := engine.TierCache
	for {
		if w.random.IntN(10) == 0 {
			tier = engine.TierAll
		}
		budget := engine.SliceLimit{MaxRows: w.random.IntN(5), MaxBytes: w.random.IntN(20)}
		state, err := read.Run(tier, budget)
		switch state {
		case rrdb.Done:
			return w.history[first:]
		case rrdb.WouldBlock:
			if tier == engine.TierAll {
				t.Fatal("would block where it may")
			}
			tier = engine.TierAll
		case rrdb.Failed:
			t.Fatal(err)
		}
		if w.random.IntN(4) == 0 {
			w.write()
		}
	}
}

// oneOf checks that an answer is that of one of the moments.
func oneOf(t *rapid.T, got string, moments []model, answer func(model) string) {
	var want []string
	for _, m := range moments {
		want = append(want, answer(m))
	}
	if !slices.Contains(want, got) {
		t.Fatalf("answer of no moment:\n got %s\nwant one of %s", got, want)
	}
}

func mustRead(t interface{ Fatal(...any) }, store engine.Store, env *rrdb.Env, code proto.Code, args []byte) rrdb.Read {
	read, err := rrdb.NewRead(store, env, code, args)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// However a read is sliced, wherever it would block and whatever is written meanwhile, it answers what the naive model
// says of one moment.
func TestMultiGetIsAnswerOfOneMoment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, env := newWorld(t), testEnv()
		env.Limits.MultiGetMaxIterCount = rapid.IntRange(1, 12).Draw(t, "iterations")
		env.Limits.MultiGetMaxIterBytes = rapid.IntRange(1, 40).Draw(t, "iteration bytes")
		req := proto.MultiGetRequest{
			HashKey: []byte(hashKeys.Draw(t, "asked")), MaxCount: rapid.Int32Range(-1, 8).Draw(t, "count"),
			MaxSize: rapid.Int32Range(-1, 30).Draw(t, "size"), NoValue: rapid.Bool().Draw(t, "no value"),
			Start: []byte(sortKeys.Draw(t, "start")), Stop: []byte(sortKeys.Draw(t, "stop")),
			StartInclusive: rapid.Bool().Draw(t, "start in"), StopInclusive: rapid.Bool().Draw(t, "stop in"),
			FilterType: filters.Draw(t, "filter"), FilterPattern: []byte(patterns.Draw(t, "pattern")),
			Reverse: rapid.Bool().Draw(t, "reverse"),
		}
		read := mustRead(t, w.store, env, proto.CodeMultiGet, req.AppendArgs(nil))
		defer read.Close()
		moments := w.finish(t, read)
		var got proto.MultiGetResponse
		if err := got.DecodeResult(read.AppendReply(nil)); err != nil {
			t.Fatal(err)
		}
		oneOf(t, fmt.Sprint(got.Error, decoded(got.KVs)), moments, func(m model) string {
			return fmt.Sprint(m.multiGet(env, &req))
		})
	})
}

func TestLookupsAreAnswersOfOneMoment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, env := newWorld(t), testEnv()
		hashKey := hashKeys.Draw(t, "asked")
		var byKeys proto.MultiGetRequest
		var batch proto.BatchGetRequest
		byKeys.HashKey = []byte(hashKey)
		asked := rapid.SliceOfN(sortKeys, 1, 6).Draw(t, "sort keys")
		for _, s := range asked {
			byKeys.SortKeys.AddBlob([]byte(s))
			batch.Keys.AddFullKey(proto.FullKey{HashKey: []byte(hashKey), SortKey: []byte(s)})
		}
		lookups := func(m model) string {
			var want []kv
			for _, s := range asked {
				for _, r := range m {
					if r.key == rawKey(hashKey, s) && !r.expired(testNow) {
						want = append(want, kv{s, r.value})
					}
				}
			}
			return fmt.Sprint(want)
		}
		read := mustRead(t, w.store, env, proto.CodeMultiGet, byKeys.AppendArgs(nil))
		moments := w.finish(t, read)
		var got proto.MultiGetResponse
		if err := got.DecodeResult(read.AppendReply(nil)); err != nil {
			t.Fatal(err)
		}
		oneOf(t, fmt.Sprint(decoded(got.KVs)), moments, lookups)

		read = mustRead(t, w.store, env, proto.CodeBatchGet, batch.AppendArgs(nil))
		moments = w.finish(t, read)
		var data proto.BatchGetResponse
		if err := data.DecodeResult(read.AppendReply(nil)); err != nil {
			t.Fatal(err)
		}
		var found []kv
		r := data.Data.Reader()
		for range data.Data.N {
			d := r.FullData()
			found = append(found, kv{string(d.SortKey), string(d.Value)})
		}
		oneOf(t, fmt.Sprint(found), moments, lookups)

		count := mustRead(t, w.store, env, proto.CodeSortkeyCount, proto.AppendBlobArg(nil, []byte(hashKey)))
		defer count.Close()
		moments = w.finish(t, count)
		var n proto.CountResponse
		if err := n.DecodeResult(count.AppendReply(nil)); err != nil {
			t.Fatal(err)
		}
		oneOf(t, fmt.Sprint(n.Error, n.Count), moments, func(m model) string {
			return fmt.Sprint(proto.StorageOK, m.sortkeyCount(env, hashKey))
		})
	})
}

// A scan over all its batches is the answer of one moment, in batches that keep to their limits.
func TestScanIsAnswerOfOneMoment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, env := newWorld(t), testEnv()
		env.Limits.ScanMaxIter = rapid.IntRange(1, 6).Draw(t, "iterations")
		env.Limits.MaxReplyBytes = rapid.IntRange(0, 20).Draw(t, "reply bytes")
		flag := rapid.SampledFrom([]proto.OptBool{proto.BoolUnset, proto.BoolFalse, proto.BoolTrue})
		req := proto.GetScannerRequest{
			Start:          []byte(rawKey(hashKeys.Draw(t, "start hash"), sortKeys.Draw(t, "start"))),
			Stop:           []byte(rawKey(hashKeys.Draw(t, "stop hash"), sortKeys.Draw(t, "stop"))),
			StartInclusive: rapid.Bool().Draw(t, "start in"), StopInclusive: rapid.Bool().Draw(t, "stop in"),
			BatchSize: rapid.Int32Range(-1, 8).Draw(t, "batch"), NoValue: rapid.Bool().Draw(t, "no value"),
			HashFilterType: filters.Draw(t, "hash filter"), HashFilter: []byte(patterns.Draw(t, "hash pattern")),
			SortFilterType: filters.Draw(t, "sort filter"), SortFilter: []byte(patterns.Draw(t, "sort pattern")),
			FullScan: flag.Draw(t, "full"), OnlyReturnCount: flag.Draw(t, "only count"), ReturnExpire: flag.Draw(t, "expire"),
		}
		sc, err := rrdb.NewScanner(w.store, env, req.AppendArgs(nil))
		if err != nil {
			t.Fatal(err)
		}
		defer sc.Close()
		limit := env.Limits.ScanMaxIter
		if req.BatchSize > 0 {
			limit = min(limit, int(req.BatchSize))
		}
		var all []kv
		var moments []model
		count := 0
		for batch := 1; ; batch++ {
			during := w.finish(t, sc)
			if batch == 1 {
				moments = during
			}
			more := sc.Unfinished()
			if more {
				sc.SetHandle(int64(batch))
			}
			var got proto.ScanResponse
			if err := got.DecodeResult(sc.AppendReply(nil)); err != nil {
				t.Fatal(err)
			}
			rows := decoded(got.KVs)
			all = append(all, rows...)
			count += int(got.Count)
			if got.Error != proto.StorageOK || len(rows) > limit || int(got.Count) > limit {
				t.Fatalf("batch %d of at most %d: %+v", batch, limit, got)
			}
			if more != (got.Context == int64(batch)) || !more && got.Context > 0 {
				t.Fatalf("batch %d, unfinished %v, has context %d", batch, more, got.Context)
			}
			if !more {
				break
			}
			if batch > 200 {
				t.Fatal("scan does not end")
			}
			sc.NextBatch(env)
		}
		onlyCount := req.OnlyReturnCount.Or(false)
		oneOf(t, answerOf(all, count, onlyCount), moments, func(m model) string {
			rows := m.scanAll(env, &req)
			return answerOf(rows, len(rows), onlyCount)
		})
	})
}

func answerOf(rows []kv, count int, onlyCount bool) string {
	if onlyCount {
		return fmt.Sprint(count)
	}
	return fmt.Sprint(rows)
}

var errBroken = fmt.Errorf("%w: broken disk", engine.ErrIO)

// A store that fails is an answer with its status and no records, and an error for the caller.
func TestFailedReads(t *testing.T) {
	env := testEnv()
	multi := proto.MultiGetRequest{HashKey: []byte("h")}
	keys := proto.MultiGetRequest{HashKey: []byte("h")}
	keys.SortKeys.AddBlob([]byte("s"))
	scan := proto.GetScannerRequest{Start: []byte{0, 0}, Stop: []byte{0xff, 0xff}}
	store := mem.New(mem.Options{Fail: func(op mem.Op) error {
		if op == mem.OpGet || op == mem.OpScan {
			return errBroken
		}
		return nil
	}})
	sc, err := rrdb.NewScanner(store, env, scan.AppendArgs(nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		read   rrdb.Read
		status func([]byte) (proto.StorageStatus, int, error)
	}{
		"range": {mustRead(t, store, env, proto.CodeMultiGet, multi.AppendArgs(nil)), multiGetStatus},
		"keys":  {mustRead(t, store, env, proto.CodeMultiGet, keys.AppendArgs(nil)), multiGetStatus},
		"scan": {sc, func(b []byte) (proto.StorageStatus, int, error) {
			var m proto.ScanResponse
			err := m.DecodeResult(b)
			return m.Error, m.KVs.N + int(m.Context), err
		}},
	} {
		state, err := c.read.Run(engine.TierAll, engine.SliceLimit{})
		if state != rrdb.Failed || !errors.Is(err, engine.ErrIO) {
			t.Errorf("%s: %v, %v", name, state, err)
		}
		status, rows, err := c.status(c.read.AppendReply(nil))
		if status != proto.StorageIOError || rows != 0 || err != nil {
			t.Errorf("%s: status %v, %d rows, %v", name, status, rows, err)
		}
		c.read.Close()
		c.read.Close()
	}
}

func multiGetStatus(b []byte) (proto.StorageStatus, int, error) {
	var m proto.MultiGetResponse
	err := m.DecodeResult(b)
	return m.Error, m.KVs.N, err
}
