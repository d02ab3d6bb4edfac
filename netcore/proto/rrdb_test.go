package proto_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pegasus/netcore/proto"
	"pegasus/netcore/proto/golden"
)

// argsCodec and resultCodec are what the message structs have in common.
type argsCodec interface {
	DecodeArgs([]byte) error
	AppendArgs([]byte) []byte
}

type resultCodec interface {
	DecodeResult([]byte) error
	AppendResult([]byte) []byte
}

// The arguments that are no struct, behind the same interface.
type (
	blobArgs         struct{ key []byte }
	scanArgs         struct{ context int64 }
	clearScannerArgs struct{ context int64 }
)

func (m *blobArgs) DecodeArgs(b []byte) (err error) { m.key, err = proto.DecodeBlobArg(b); return err }
func (m *blobArgs) AppendArgs(b []byte) []byte      { return proto.AppendBlobArg(b, m.key) }
func (m *scanArgs) DecodeArgs(b []byte) (err error) {
	m.context, err = proto.DecodeScanArgs(b)
	return err
}
func (m *scanArgs) AppendArgs(b []byte) []byte { return proto.AppendScanArgs(b, m.context) }
func (m *clearScannerArgs) DecodeArgs(b []byte) (err error) {
	m.context, err = proto.DecodeClearScannerArgs(b)
	return err
}
func (m *clearScannerArgs) AppendArgs(b []byte) []byte {
	return proto.AppendClearScannerArgs(b, m.context)
}

// dataMessage is the codecs of one data RPC.
type dataMessage struct {
	args   argsCodec
	result resultCodec // nil: none is ever sent
}

func dataMessages() map[proto.Code]dataMessage {
	return map[proto.Code]dataMessage{
		proto.CodePut:            {&proto.PutRequest{}, &proto.UpdateResponse{}},
		proto.CodeMultiPut:       {&proto.MultiPutRequest{}, &proto.UpdateResponse{}},
		proto.CodeRemove:         {&blobArgs{}, &proto.UpdateResponse{}},
		proto.CodeMultiRemove:    {&proto.MultiRemoveRequest{}, &proto.MultiRemoveResponse{}},
		proto.CodeIncr:           {&proto.IncrRequest{}, &proto.IncrResponse{}},
		proto.CodeCheckAndSet:    {&proto.CheckAndSetRequest{}, &proto.CheckResponse{}},
		proto.CodeCheckAndMutate: {&proto.CheckAndMutateRequest{}, &proto.CheckResponse{}},
		proto.CodeGet:            {&blobArgs{}, &proto.ReadResponse{}},
		proto.CodeTTL:            {&blobArgs{}, &proto.TTLResponse{}},
		proto.CodeMultiGet:       {&proto.MultiGetRequest{}, &proto.MultiGetResponse{}},
		proto.CodeBatchGet:       {&proto.BatchGetRequest{}, &proto.BatchGetResponse{}},
		proto.CodeSortkeyCount:   {&blobArgs{}, &proto.CountResponse{}},
		proto.CodeGetScanner:     {&proto.GetScannerRequest{}, &proto.ScanResponse{}},
		proto.CodeScan:           {&scanArgs{}, &proto.ScanResponse{}},
		proto.CodeClearScanner:   {&clearScannerArgs{}, nil},
	}
}

// recordedData calls f for every recorded data request in THFT framing with the argument and, when it was answered, the
// result.
func recordedData(t testing.TB, f func(s *golden.Step, code proto.Code, args, result []byte)) {
	t.Helper()
	cases, err := golden.Load()
	if err != nil {
		t.Fatal(err)
	}
	for i := range cases {
		for j := range cases[i].Steps {
			s := &cases[i].Steps[j]
			code := proto.ParseCode([]byte(s.RPC))
			if !code.IsData() || code == proto.CodeDuplicate || code == proto.CodeBulkLoad {
				continue
			}
			if s.Framing != golden.FramingV0 && s.Framing != golden.FramingV1 {
				continue
			}
			frame, err := s.Frame()
			if err != nil {
				t.Fatalf("%s: %v", s, err)
			}
			var req proto.Request
			if _, _, err := proto.ParseTHFT(frame, len(frame), &req); err != nil {
				continue
			}
			f(s, code, req.Args, recordedResult(t, s))
		}
	}
}

func recordedResult(t testing.TB, s *golden.Step) []byte {
	t.Helper()
	if s.ResponseHex == "" {
		return nil
	}
	frame, err := golden.Expand(s.ResponseHex)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	var reply proto.Reply
	if _, _, err := proto.ParseReply(frame, len(frame), &reply); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return reply.Body
}

// Every recorded argument and result comes out of the codecs as it went in. Requests made to be odd (raw bytes, without
// a decoded form in the corpus) need only decode.
func TestRecordedDataMessages(t *testing.T) {
	messages := dataMessages()
	same, results := 0, 0
	recordedData(t, func(s *golden.Step, code proto.Code, args, result []byte) {
		m := messages[code]
		if err := m.args.DecodeArgs(args); err != nil {
			t.Errorf("%s: argument: %v", s, err)
			return
		}
		odd := string(s.Request) == "null" || s.Case == "update_type_field"
		if got := m.args.AppendArgs(nil); bytes.Equal(got, args) {
			same++
		} else if !odd {
			t.Errorf("%s: argument\n got %x\nwant %x", s, got, args)
		}
		if len(result) == 0 {
			return
		}
		if err := m.result.DecodeResult(result); err != nil {
			t.Errorf("%s: result: %v", s, err)
			return
		}
		results++
		if got := m.result.AppendResult(nil); !bytes.Equal(got, result) {
			t.Errorf("%s: result\n got %x\nwant %x", s, got, result)
		}
	})
	if same < 1400 || results < 1400 {
		t.Errorf("only %d arguments and %d results compared", same, results)
	}
}

// A message that ends early is an error at every byte, never a message with less in it.
func TestTruncatedDataMessages(t *testing.T) {
	messages := dataMessages()
	seen := map[proto.Code]int{}
	recordedData(t, func(s *golden.Step, code proto.Code, args, result []byte) {
		if seen[code]++; seen[code] > 4 || string(s.Request) == "null" || len(args) > 4096 {
			return
		}
		m := messages[code]
		for n := range args {
			if err := m.args.DecodeArgs(args[:n]); err == nil {
				t.Fatalf("%s: %d of %d bytes of the argument decode", s, n, len(args))
			}
		}
		for n := range result {
			if err := m.result.DecodeResult(result[:n]); err == nil {
				t.Fatalf("%s: %d of %d bytes of the result decode", s, n, len(result))
			}
		}
	})
	if len(seen) != len(messages) {
		t.Errorf("only %d of %d messages seen", len(seen), len(messages))
	}
}

// putArgs is an update_request with every rule of the decoder in it.
func putArgs(fields ...[]byte) []byte {
	b := proto.AppendField(nil, proto.TI64, -7) // header of the argument: ignored
	for _, f := range fields {
		b = append(b, f...)
	}
	return append(b, proto.TStop, proto.TStop)
}

func TestDataDecodingRules(t *testing.T) {
	key := proto.AppendBlob(proto.AppendField(nil, proto.TStruct, 1), "\x00\x01hs")
	value := proto.AppendBlob(proto.AppendField(nil, proto.TStruct, 2), "v")
	expire := proto.AppendI32(proto.AppendField(nil, proto.TI32, 3), 77)
	want := proto.PutRequest{Key: []byte("\x00\x01hs"), Value: []byte("v"), Expire: 77}

	unknownStruct := append(proto.AppendField(nil, proto.TStruct, 100), expire...)
	unknownStruct = append(unknownStruct, proto.TStop)
	unknownMap := append(proto.AppendField(nil, proto.TMap, 101), proto.TString, proto.TBool, 0, 0, 0, 1)
	unknownMap = append(proto.AppendBlob(unknownMap, "k"), 1)
	checkValue := proto.AppendBlob(proto.AppendField(nil, proto.TStruct, 7), "\x0b\x00\x01")

	for name, c := range map[string]struct {
		args []byte
		want proto.PutRequest
	}{
		"plain":          {putArgs(key, value, expire), want},
		"any order":      {putArgs(expire, value, key), want},
		"trailing bytes": {append(putArgs(key, value, expire), "rubbish"...), want},
		"unknown fields": {putArgs(unknownStruct, key, unknownMap, value, expire), want},
		"foreign blob":   {putArgs(key, checkValue, value, expire), want},
		"known field of another type": {
			putArgs(key, proto.AppendBlob(proto.AppendField(nil, proto.TString, 2), "v"), proto.AppendI64(proto.AppendField(nil, proto.TI64, 3), 1)),
			proto.PutRequest{Key: want.Key},
		},
		"last one counts": {putArgs(key, expire, value, proto.AppendI32(proto.AppendField(nil, proto.TI32, 3), 78)),
			proto.PutRequest{Key: want.Key, Value: want.Value, Expire: 78}},
		"nothing": {putArgs(), proto.PutRequest{}},
	} {
		var got proto.PutRequest
		if err := got.DecodeArgs(c.args); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestMalformedDataMessages(t *testing.T) {
	negative := putArgs(proto.AppendI32(proto.AppendField(nil, proto.TStruct, 1), -1))
	huge := putArgs(proto.AppendI32(proto.AppendField(nil, proto.TStruct, 1), 1<<31-1))
	list := func(size int) []byte {
		return putArgs(proto.AppendList(proto.AppendField(nil, proto.TList, 2), proto.TStruct, size))
	}
	var put proto.PutRequest
	var multi proto.MultiPutRequest
	var get proto.MultiGetRequest
	for name, c := range map[string]struct {
		err  error
		want error
	}{
		"negative blob": {put.DecodeArgs(negative), proto.ErrMalformed},
		"huge blob":     {put.DecodeArgs(huge), proto.ErrTruncated},
		"huge list":     {multi.DecodeArgs(list(1<<31 - 1)), proto.ErrMalformed},
		"negative list": {get.DecodeArgs(list(-1)), proto.ErrMalformed},
		"nothing":       {put.DecodeArgs(nil), proto.ErrTruncated},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", name, c.err, c.want)
		}
	}
}

// Whatever the bytes are, decoding ends without a panic, and what decoded encodes to something that decodes to the same.
func FuzzDataMessages(f *testing.F) {
	codes := make([]proto.Code, 0)
	for code := proto.CodePut; code <= proto.CodeClearScanner; code++ {
		if _, ok := dataMessages()[code]; ok {
			codes = append(codes, code)
		}
	}
	seen := map[proto.Code]int{}
	recordedData(f, func(s *golden.Step, code proto.Code, args, result []byte) {
		if seen[code]++; seen[code] <= 3 && len(args) < 512 && len(result) < 512 {
			for i, c := range codes {
				if c == code {
					f.Add(byte(i), args)
					f.Add(byte(i), result)
				}
			}
		}
	})
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		m := dataMessages()[codes[int(which)%len(codes)]]
		if m.args.DecodeArgs(b) == nil {
			again := m.args.AppendArgs(nil)
			if err := m.args.DecodeArgs(again); err != nil {
				t.Fatalf("argument %x encodes to %x: %v", b, again, err)
			}
			if third := m.args.AppendArgs(nil); !bytes.Equal(again, third) {
				t.Fatalf("argument %x encodes to %x, then to %x", b, again, third)
			}
		}
		if m.result == nil || m.result.DecodeResult(b) != nil {
			return
		}
		again := m.result.AppendResult(nil)
		if err := m.result.DecodeResult(again); err != nil {
			t.Fatalf("result %x encodes to %x: %v", b, again, err)
		}
		if third := m.result.AppendResult(nil); !bytes.Equal(again, third) {
			t.Fatalf("result %x encodes to %x, then to %x", b, again, third)
		}
	})
}

// Decoded lists can be walked with the methods of their elements.
func TestLists(t *testing.T) {
	var keys proto.List
	keys.AddFullKey(proto.FullKey{HashKey: []byte("h"), SortKey: []byte("s")})
	keys.AddFullKey(proto.FullKey{})
	var m proto.BatchGetRequest
	if err := m.DecodeArgs((&proto.BatchGetRequest{Keys: keys}).AppendArgs(nil)); err != nil {
		t.Fatal(err)
	}
	r := m.Keys.Reader()
	first, second := r.FullKey(), r.FullKey()
	if m.Keys.N != 2 || string(first.HashKey) != "h" || string(first.SortKey) != "s" || len(second.HashKey) != 0 || r.Err() != nil {
		t.Errorf("%d keys, %q, %q, %v", m.Keys.N, first, second, r.Err())
	}
	if keys.Reset(); keys.N != 0 || len(keys.Raw) != 0 {
		t.Errorf("list after Reset: %+v", keys)
	}
}

var (
	benchKey    = append([]byte{0, 8}, "userhashsortkey0"...)
	benchValue  = bytes.Repeat([]byte{'v'}, 100)
	benchServer = []byte("10.0.0.17:34801")
)

func TestDataCodecsDoNotAllocate(t *testing.T) {
	put := (&proto.PutRequest{Key: benchKey, Value: benchValue}).AppendArgs(nil)
	get := proto.AppendBlobArg(nil, benchKey)
	out := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(1000, func() {
		var m proto.PutRequest
		if err := m.DecodeArgs(put); err != nil {
			t.Fatal(err)
		}
		out = m.AppendArgs(out[:0])
		reply := proto.UpdateResponse{Decree: 7, Server: benchServer}
		out = reply.AppendResult(out[:0])
		if err := reply.DecodeResult(out); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("put: %v allocations", n)
	}
	if n := testing.AllocsPerRun(1000, func() {
		key, err := proto.DecodeBlobArg(get)
		if err != nil || len(key) != len(benchKey) {
			t.Fatal(err)
		}
		out = proto.AppendBlobArg(out[:0], key)
		reply := proto.ReadResponse{Value: benchValue, Server: benchServer}
		out = reply.AppendResult(out[:0])
		if err := reply.DecodeResult(out); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("get: %v allocations", n)
	}
}

func BenchmarkDecodePut(b *testing.B) {
	args := (&proto.PutRequest{Key: benchKey, Value: benchValue}).AppendArgs(nil)
	b.ReportAllocs()
	for b.Loop() {
		var m proto.PutRequest
		if err := m.DecodeArgs(args); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendPutReply(b *testing.B) {
	out := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		reply := proto.UpdateResponse{Decree: 7, Server: benchServer}
		out = reply.AppendResult(out[:0])
	}
}

func BenchmarkDecodeGet(b *testing.B) {
	args := proto.AppendBlobArg(nil, benchKey)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := proto.DecodeBlobArg(args); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendGetReply(b *testing.B) {
	out := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		reply := proto.ReadResponse{Value: benchValue, Server: benchServer}
		out = reply.AppendResult(out[:0])
	}
}

func BenchmarkDecodeGetReply(b *testing.B) {
	body := (&proto.ReadResponse{Value: benchValue, Server: benchServer}).AppendResult(nil)
	b.ReportAllocs()
	for b.Loop() {
		var m proto.ReadResponse
		if err := m.DecodeResult(body); err != nil {
			b.Fatal(err)
		}
	}
}
