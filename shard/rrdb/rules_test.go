package rrdb_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"pegasus/engine"
	"pegasus/engine/mem"
	"pegasus/netcore/proto"
	"pegasus/shard/rrdb"
)

var longHashKey = bytes.Repeat([]byte{'h'}, engine.MaxHashKeyLen+1)

// badKeys are what the recorded server cannot be asked for without ending its process.
var badKeys = map[string][]byte{
	"empty":                 {},
	"one byte":              {0},
	"length beyond the key": {0, 3, 'a', 'b'},
	"hash key of 65535":     append([]byte{0xff, 0xff}, longHashKey...),
	"length prefix ffff":    {0xff, 0xff},
}

func TestInvalidKeys(t *testing.T) {
	env := testEnv()
	for name, key := range badKeys {
		if rrdb.ValidKey(key) {
			t.Errorf("%s: valid", name)
		}
		put := proto.PutRequest{Key: key}
		incr := proto.IncrRequest{Key: key}
		for code, args := range map[proto.Code][]byte{
			proto.CodePut: put.AppendArgs(nil), proto.CodeRemove: proto.AppendBlobArg(nil, key), proto.CodeIncr: incr.AppendArgs(nil),
		} {
			checkRefusedWrite(t, name, env, code, args)
		}
		scan := proto.GetScannerRequest{Start: key, Stop: []byte{0xff, 0xff}, StartInclusive: true}
		sc, err := rrdb.NewScanner(mem.New(mem.Options{}), env, scan.AppendArgs(nil))
		if err != nil {
			t.Fatal(err)
		}
		if state, err := sc.Run(engine.TierCache, engine.SliceLimit{}); state != rrdb.Done || err != nil || sc.Unfinished() {
			t.Errorf("%s: scan %v, %v", name, state, err)
		}
		var got proto.ScanResponse
		if err := got.DecodeResult(sc.AppendReply(nil)); err != nil || got.Error != proto.StorageInvalidArgument || got.Context != 0 {
			t.Errorf("%s: scan answered %+v, %v", name, got, err)
		}
	}
	for _, code := range []proto.Code{proto.CodeGet, proto.CodeTTL} {
		if got := errorOf(t, rrdb.AppendInvalidKeyReply(nil, env, code)); got != proto.StorageInvalidArgument {
			t.Errorf("%v: %v", code, got)
		}
	}
}

// checkRefusedWrite checks that a write is answered with InvalidArgument under a decree and leaves no record.
func checkRefusedWrite(t *testing.T, name string, env *rrdb.Env, code proto.Code, args []byte) {
	t.Helper()
	var b engine.BatchBuilder
	var reply rrdb.Reply
	var err error
	if code.IsAtomic() {
		if key, err := rrdb.AtomicKey(nil, code, args); len(key) != 0 || err != nil {
			t.Errorf("%s: %v reads %x, %v", name, code, key, err)
		}
		reply, err = rrdb.Eval(&b, env, code, args, engine.NotFound, nil)
	} else {
		reply, err = rrdb.Encode(&b, env, code, args)
	}
	if err != nil || b.Count() != 0 || reply.Status() != proto.StorageInvalidArgument || reply.Silent() || !reply.NeedsDecree(env) {
		t.Errorf("%s: %v: %+v, %d records, %v", name, code, reply, b.Count(), err)
	}
	if got := errorOf(t, reply.Append(nil, env, 5)); got != proto.StorageInvalidArgument {
		t.Errorf("%s: %v answered %v", name, code, got)
	}
}

// errorOf decodes the first field of any data response.
func errorOf(t *testing.T, result []byte) proto.StorageStatus {
	t.Helper()
	var m proto.ReadResponse
	if err := m.DecodeResult(result); err != nil {
		t.Error(err)
	}
	return m.Error
}

func TestLongHashKeys(t *testing.T) {
	env, store := testEnv(), mem.New(mem.Options{})
	var list, blobs, mutations, keys proto.List
	list.AddKeyValue(proto.KeyValue{Key: []byte("s")})
	blobs.AddBlob([]byte("s"))
	mutations.AddMutation(proto.Mutation{SortKey: []byte("s")})
	keys.AddFullKey(proto.FullKey{})
	keys.AddFullKey(proto.FullKey{HashKey: longHashKey})
	for code, args := range map[proto.Code][]byte{
		proto.CodeMultiPut:       (&proto.MultiPutRequest{HashKey: longHashKey, KVs: list}).AppendArgs(nil),
		proto.CodeMultiRemove:    (&proto.MultiRemoveRequest{HashKey: longHashKey, SortKeys: blobs}).AppendArgs(nil),
		proto.CodeCheckAndSet:    (&proto.CheckAndSetRequest{HashKey: longHashKey}).AppendArgs(nil),
		proto.CodeCheckAndMutate: (&proto.CheckAndMutateRequest{HashKey: longHashKey, Mutations: mutations}).AppendArgs(nil),
	} {
		checkRefusedWrite(t, "long hash key", env, code, args)
	}
	for name, read := range map[string]rrdb.Read{
		"range":     mustRead(t, store, env, proto.CodeMultiGet, (&proto.MultiGetRequest{HashKey: longHashKey}).AppendArgs(nil)),
		"sort keys": mustRead(t, store, env, proto.CodeMultiGet, (&proto.MultiGetRequest{HashKey: longHashKey, SortKeys: blobs}).AppendArgs(nil)),
		"batch":     mustRead(t, store, env, proto.CodeBatchGet, (&proto.BatchGetRequest{Keys: keys}).AppendArgs(nil)),
		"count":     mustRead(t, store, env, proto.CodeSortkeyCount, proto.AppendBlobArg(nil, longHashKey)),
	} {
		if state, err := read.Run(engine.TierCache, engine.SliceLimit{}); state != rrdb.Done || err != nil {
			t.Errorf("%s: %v, %v", name, state, err)
		}
		if got := errorOf(t, read.AppendReply(nil)); got != proto.StorageInvalidArgument {
			t.Errorf("%s: %v", name, got)
		}
	}
	scan := proto.GetScannerRequest{Start: []byte{0, 0}, Stop: []byte{0xff, 0xff}, HashFilterType: proto.FilterPrefix, HashFilter: longHashKey}
	sc, err := rrdb.NewScanner(store, env, scan.AppendArgs(nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := errorOf(t, sc.AppendReply(nil)); got != proto.StorageInvalidArgument {
		t.Errorf("scan with a long prefix filter: %v", got)
	}
}

// A prefix filter behind the start key of a scan that is bound to one hash key finds nothing; it ends the recorded
// server's process.
func TestPrefixFilterBehindHashKey(t *testing.T) {
	env, store := testEnv(), mem.New(mem.Options{})
	put(t, store, "a", "s", "v")
	put(t, store, "bc", "s", "v")
	scan := proto.GetScannerRequest{Start: []byte("\x00\x01a"), Stop: []byte{0xff, 0xff}, StartInclusive: true,
		HashFilterType: proto.FilterPrefix, HashFilter: []byte("bc")}
	sc, err := rrdb.NewScanner(store, env, scan.AppendArgs(nil))
	if err != nil {
		t.Fatal(err)
	}
	if state, err := sc.Run(engine.TierCache, engine.SliceLimit{}); state != rrdb.Done || err != nil {
		t.Fatalf("%v, %v", state, err)
	}
	var got proto.ScanResponse
	if err := got.DecodeResult(sc.AppendReply(nil)); err != nil || got.Error != proto.StorageOK || got.KVs.N != 0 || got.Context != proto.ScanCompleted {
		t.Errorf("%+v, %v", got, err)
	}
}

func put(t testing.TB, store engine.Store, hashKey, sortKey, value string) {
	t.Helper()
	var b engine.BatchBuilder
	b.Put([]byte(rawKey(hashKey, sortKey)), 0, 0, []byte(value))
	if err := store.Apply(store.AppliedDecree()+1, b.Bytes()); err != nil {
		t.Fatal(err)
	}
}

// Arguments that do not decode are an error and leave nothing behind, at every length.
func TestUndecodableArguments(t *testing.T) {
	env, store := testEnv(), mem.New(mem.Options{})
	var kvs, sortKeys, mutations, keys proto.List
	kvs.AddKeyValue(proto.KeyValue{Key: []byte("s"), Value: []byte("v")})
	sortKeys.AddBlob([]byte("s"))
	mutations.AddMutation(proto.Mutation{SortKey: []byte("s")})
	keys.AddFullKey(proto.FullKey{HashKey: []byte("h")})
	hash := []byte("h")
	raw := []byte(rawKey("h", "s"))
	for code, args := range map[proto.Code][]byte{
		proto.CodePut:            (&proto.PutRequest{Key: raw}).AppendArgs(nil),
		proto.CodeRemove:         proto.AppendBlobArg(nil, raw),
		proto.CodeMultiPut:       (&proto.MultiPutRequest{HashKey: hash, KVs: kvs}).AppendArgs(nil),
		proto.CodeMultiRemove:    (&proto.MultiRemoveRequest{HashKey: hash, SortKeys: sortKeys}).AppendArgs(nil),
		proto.CodeIncr:           (&proto.IncrRequest{Key: raw}).AppendArgs(nil),
		proto.CodeCheckAndSet:    (&proto.CheckAndSetRequest{HashKey: hash}).AppendArgs(nil),
		proto.CodeCheckAndMutate: (&proto.CheckAndMutateRequest{HashKey: hash, Mutations: mutations}).AppendArgs(nil),
		proto.CodeMultiGet:       (&proto.MultiGetRequest{HashKey: hash}).AppendArgs(nil),
		proto.CodeBatchGet:       (&proto.BatchGetRequest{Keys: keys}).AppendArgs(nil),
		proto.CodeSortkeyCount:   proto.AppendBlobArg(nil, hash),
		proto.CodeGetScanner:     (&proto.GetScannerRequest{Start: raw}).AppendArgs(nil),
	} {
		for n := range args {
			cut := args[:n]
			var b engine.BatchBuilder
			var err error
			switch {
			case code.IsAtomic():
				if _, err = rrdb.AtomicKey(nil, code, cut); err != nil {
					_, err = rrdb.Eval(&b, env, code, cut, engine.NotFound, nil)
				}
			case code.IsWrite():
				_, err = rrdb.Encode(&b, env, code, cut)
			case code == proto.CodeGetScanner:
				_, err = rrdb.NewScanner(store, env, cut)
			default:
				_, err = rrdb.NewRead(store, env, code, cut)
			}
			if err == nil || b.Len() != 0 {
				t.Errorf("%v: %d of %d bytes: %v, %d bytes built", code, n, len(args), err, b.Len())
			}
		}
	}
}

func TestParseIntegers(t *testing.T) {
	valid := map[string]int64{
		"0": 0, "-0": 0, "+7": 7, "  12": 12, "\t\n\v\f\r3": 3, "0x1f": 31, "0X1F": 31, "-0x10": -16, "010": 8, "00": 0, "-010": -8,
		"9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64, "0x7fffffffffffffff": math.MaxInt64,
		"-0x8000000000000000": math.MinInt64, "0777777777777777777777": math.MaxInt64,
	}
	for s, want := range valid {
		if got, ok := incremented(t, s); !ok || got != want {
			t.Errorf("%q: %d, %v; want %d", s, got, ok, want)
		}
	}
	for _, s := range []string{
		" ", "+", "-", "--1", "+-1", "- 1", "12 ", "x", "12x", "0x", "0xg", "08", "09", "0b1", "0o7", "1e3", "1.5", "1_0", "1\x00", "\x001",
		"9223372036854775808", "-9223372036854775809", "0x8000000000000000", "01000000000000000000000", strings.Repeat("9", 400), "٣",
	} {
		if got, ok := incremented(t, s); ok {
			t.Errorf("%q: %d", s, got)
		}
	}
}

// incremented is what an increment by 0 makes of a value.
func incremented(t *testing.T, value string) (int64, bool) {
	t.Helper()
	env := testEnv()
	req := proto.IncrRequest{Key: []byte(rawKey("h", "s"))}
	raw := append(engine.AppendValueHeader(nil, 0, 0), value...)
	var b engine.BatchBuilder
	reply, err := rrdb.Eval(&b, env, proto.CodeIncr, req.AppendArgs(nil), engine.Found, raw)
	if err != nil {
		t.Fatal(err)
	}
	var m proto.IncrResponse
	if err := m.DecodeResult(reply.Append(nil, env, 1)); err != nil {
		t.Fatal(err)
	}
	if ok := m.Error == proto.StorageOK; ok != (b.Count() == 1) {
		t.Errorf("%q: status %v with %d records", value, m.Error, b.Count())
	}
	return m.NewValue, m.Error == proto.StorageOK
}

// The time limit ends a range read with what it has; a client can go on from there, or not, as recorded in the spec.
func TestTimeUp(t *testing.T) {
	env, store := testEnv(), mem.New(mem.Options{})
	for i := range 10 {
		put(t, store, "h", fmt.Sprint(i), "v")
	}
	one := engine.SliceLimit{MaxRows: 1}
	begun := func(read rrdb.Read) []byte {
		for range 3 {
			if state, err := read.Run(engine.TierCache, one); state != rrdb.More || err != nil {
				t.Fatalf("%v, %v", state, err)
			}
		}
		read.TimeUp()
		if state, err := read.Run(engine.TierCache, one); state != rrdb.Done || err != nil {
			t.Fatalf("%v, %v", state, err)
		}
		defer read.Close()
		return read.AppendReply(nil)
	}
	var multi proto.MultiGetResponse
	if err := multi.DecodeResult(begun(mustRead(t, store, env, proto.CodeMultiGet, (&proto.MultiGetRequest{HashKey: []byte("h")}).AppendArgs(nil)))); err != nil ||
		multi.Error != proto.StorageIncomplete || multi.KVs.N != 3 {
		t.Errorf("multi_get: %+v, %v", multi, err)
	}
	var count proto.CountResponse
	if err := count.DecodeResult(begun(mustRead(t, store, env, proto.CodeSortkeyCount, proto.AppendBlobArg(nil, []byte("h"))))); err != nil ||
		count.Error != proto.StorageOK || count.Count != -1 {
		t.Errorf("sortkey_count: %+v, %v", count, err)
	}
	req := proto.GetScannerRequest{Start: []byte(rawKey("h", "")), Stop: []byte(rawKey("i", "")), OnlyReturnCount: proto.BoolTrue}
	sc, err := rrdb.NewScanner(store, env, req.AppendArgs(nil))
	if err != nil {
		t.Fatal(err)
	}
	var scan proto.ScanResponse
	if err := scan.DecodeResult(begun(sc)); err != nil || scan.Error != proto.StorageIncomplete || scan.Count != 3 || scan.Context != 0 || sc.Unfinished() {
		t.Errorf("scan: %+v, %v", scan, err)
	}
}

// With the split check on, a scan leaves out what belongs to another partition, unless the client says not to look.
func TestScanChecksPartition(t *testing.T) {
	env, store := testEnv(), mem.New(mem.Options{})
	env.PartitionVersion = 3
	want := 0
	for i := range 40 {
		hashKey := fmt.Sprint("h", i)
		put(t, store, hashKey, "s", "v")
		if proto.KeyHash([]byte(hashKey))&3 == uint64(env.GPID.Part) {
			want++
		}
	}
	if want == 0 || want == 40 {
		t.Fatalf("%d records belong here", want)
	}
	for name, c := range map[string]struct {
		validate proto.OptBool
		env      func(*rrdb.Env)
		want     int32
	}{
		"by default":        {proto.BoolUnset, func(*rrdb.Env) {}, int32(want)},
		"asked":             {proto.BoolTrue, func(*rrdb.Env) {}, int32(want)},
		"declined":          {proto.BoolFalse, func(*rrdb.Env) {}, 40},
		"switched off":      {proto.BoolTrue, func(e *rrdb.Env) { e.PartitionVersion = -1 }, 40},
		"not ours any more": {proto.BoolTrue, func(e *rrdb.Env) { e.GPID.Part = 4 }, 0},
	} {
		e := *env
		c.env(&e)
		req := proto.GetScannerRequest{Start: []byte{0, 0}, Stop: []byte{0xff, 0xff}, OnlyReturnCount: proto.BoolTrue, ValidateHash: c.validate}
		sc, err := rrdb.NewScanner(store, &e, req.AppendArgs(nil))
		if err != nil {
			t.Fatal(err)
		}
		if state, err := sc.Run(engine.TierAll, engine.SliceLimit{}); state != rrdb.Done || err != nil {
			t.Fatalf("%v, %v", state, err)
		}
		var got proto.ScanResponse
		if err := got.DecodeResult(sc.AppendReply(nil)); err != nil || got.Count != c.want {
			t.Errorf("%s: %d of %d records, %v", name, got.Count, c.want, err)
		}
		sc.Close()
	}
}

// A scan of large values ends its batches by bytes and gives back memory between them without losing a record.
func TestScanOfLargeValues(t *testing.T) {
	env, store := testEnv(), mem.New(mem.Options{})
	env.Limits.MaxReplyBytes = 100_000
	value := strings.Repeat("v", 9_000)
	for i := range 60 {
		put(t, store, "h", fmt.Sprintf("%02d", i), value)
	}
	req := proto.GetScannerRequest{Start: []byte(rawKey("h", "")), Stop: []byte(rawKey("i", ""))}
	sc, err := rrdb.NewScanner(store, env, req.AppendArgs(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer sc.Close()
	r, next := &replica{}, 0
	for {
		if err := r.finish(sc); err != nil {
			t.Fatal(err)
		}
		var got proto.ScanResponse
		if err := got.DecodeResult(sc.AppendReply(nil)); err != nil || got.KVs.N > 12 {
			t.Fatalf("%d rows, %v", got.KVs.N, err)
		}
		for _, row := range decoded(got.KVs) {
			if row.key != rawKey("h", fmt.Sprintf("%02d", next)) || row.value != value {
				t.Fatalf("row %d is %q", next, row.key)
			}
			next++
		}
		if !sc.Unfinished() {
			break
		}
		sc.NextBatch(env)
	}
	if next != 60 {
		t.Errorf("%d rows", next)
	}
}

// Lookups of more keys than go into one store call are answered in order, and a reply stops at its limit.
func TestManyLookups(t *testing.T) {
	env, store := testEnv(), mem.New(mem.Options{})
	env.Limits.MultiGetMaxIterCount = 1 << 20
	var keys proto.MultiGetRequest
	keys.HashKey = []byte("h")
	var batch proto.BatchGetRequest
	const n = 2500
	for i := range n {
		s := fmt.Sprintf("%05d", i)
		put(t, store, "h", s, "12345")
		keys.SortKeys.AddBlob([]byte(s))
		batch.Keys.AddFullKey(proto.FullKey{HashKey: []byte("h"), SortKey: []byte(s)})
	}
	r := &replica{}
	for limit, want := range map[int]int{0: n, 1: 1, 10 * 1500: 1500, 10*1500 + 1: 1501} {
		env.Limits.MaxReplyBytes = limit
		status := proto.StorageOK
		if want < n {
			status = proto.StorageIncomplete
		}
		read := mustRead(t, store, env, proto.CodeMultiGet, keys.AppendArgs(nil))
		if err := r.finish(read); err != nil {
			t.Fatal(err)
		}
		var got proto.MultiGetResponse
		if err := got.DecodeResult(read.AppendReply(nil)); err != nil || got.Error != status || got.KVs.N != want {
			t.Errorf("multi_get limit %d: %v, %d rows, %v", limit, got.Error, got.KVs.N, err)
		}
		if rows := decoded(got.KVs); rows[want-1].key != fmt.Sprintf("%05d", want-1) {
			t.Errorf("multi_get limit %d: row %d is %q", limit, want-1, rows[want-1].key)
		}
	}
	env.Limits.MaxReplyBytes = 0
	read := mustRead(t, store, env, proto.CodeBatchGet, batch.AppendArgs(nil))
	if err := r.finish(read); err != nil {
		t.Fatal(err)
	}
	var got proto.BatchGetResponse
	if err := got.DecodeResult(read.AppendReply(nil)); err != nil || got.Error != proto.StorageOK || got.Data.N != n {
		t.Errorf("batch_get: %v, %d rows, %v", got.Error, got.Data.N, err)
	}
}

// Values of all layouts are read, a damaged one is an error and not a record.
func TestDataVersions(t *testing.T) {
	body := func(head string) []byte { return []byte(head + "user") }
	for version, raw := range map[engine.DataVersion][]byte{
		engine.DataV0: body("\x00\x00\x07\xd0"),
		engine.DataV1: body("\x00\x00\x07\xd0TIMETAG8"),
		engine.DataV2: body("\x82\x00\x00\x07\xd0TIMETAG8"),
	} {
		env := testEnv()
		env.DataVersion = version
		var got proto.ReadResponse
		if err := got.DecodeResult(rrdb.AppendGetReply(nil, env, engine.Found, raw)); err != nil || string(got.Value) != "user" {
			t.Errorf("version %d: %+v, %v", version, got, err)
		}
		var ttl proto.TTLResponse
		if err := ttl.DecodeResult(rrdb.AppendTTLReply(nil, env, engine.Found, raw)); err != nil || ttl.Seconds != 2000-testNow {
			t.Errorf("version %d: %+v, %v", version, ttl, err)
		}
		if got := errorOf(t, rrdb.AppendGetReply(nil, env, engine.Found, raw[:3])); got != proto.StorageCorruption {
			t.Errorf("version %d: damaged value answered %v", version, got)
		}
	}
	env := testEnv()
	if got := errorOf(t, rrdb.AppendGetReply(nil, env, engine.Failed, nil)); got != proto.StorageIOError {
		t.Errorf("failed get answered %v", got)
	}
	if got := errorOf(t, rrdb.AppendTTLReply(nil, env, engine.Failed, nil)); got != proto.StorageIOError {
		t.Errorf("failed ttl answered %v", got)
	}
}
