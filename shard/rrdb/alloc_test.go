package rrdb_test

import (
	"fmt"
	"testing"

	"pegasus/engine"
	"pegasus/engine/mem"
	"pegasus/netcore/proto"
	"pegasus/shard/rrdb"
)

func TestPointOperationsDoNotAllocate(t *testing.T) {
	env := testEnv()
	key := []byte(rawKey("user0001", "sort0001"))
	put := (&proto.PutRequest{Key: key, Value: make([]byte, 100)}).AppendArgs(nil)
	incr := (&proto.IncrRequest{Key: key, Increment: 1}).AppendArgs(nil)
	set := (&proto.CheckAndSetRequest{HashKey: []byte("user0001"), SetValue: []byte("v")}).AppendArgs(nil)
	stored := append(engine.AppendValueHeader(nil, testNow+10, 0), "41"...)
	var b engine.BatchBuilder
	out := make([]byte, 0, 4096)
	scratch := make([]byte, 0, 64)
	for name, f := range map[string]func() (rrdb.Reply, error){
		"put": func() (rrdb.Reply, error) { return rrdb.Encode(&b, env, proto.CodePut, put) },
		"incr": func() (rrdb.Reply, error) {
			k, err := rrdb.AtomicKey(scratch, proto.CodeIncr, incr)
			if err != nil || len(k) != len(key) {
				t.Fatal(err)
			}
			return rrdb.Eval(&b, env, proto.CodeIncr, incr, engine.Found, stored)
		},
		"check_and_set": func() (rrdb.Reply, error) {
			return rrdb.Eval(&b, env, proto.CodeCheckAndSet, set, engine.Found, stored)
		},
		"get": func() (rrdb.Reply, error) {
			out = rrdb.AppendGetReply(out[:0], env, engine.Found, stored)
			out = rrdb.AppendTTLReply(out[:0], env, engine.Found, stored)
			return rrdb.Reply{}, nil
		},
	} {
		if n := testing.AllocsPerRun(1000, func() {
			b.Reset()
			reply, err := f()
			if err != nil {
				t.Fatal(err)
			}
			out = reply.Append(out[:0], env, 9)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	env := testEnv()
	args := (&proto.PutRequest{Key: []byte(rawKey("user0001", "sort0001")), Value: make([]byte, 100)}).AppendArgs(nil)
	var builder engine.BatchBuilder
	out := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		builder.Reset()
		reply, err := rrdb.Encode(&builder, env, proto.CodePut, args)
		if err != nil {
			b.Fatal(err)
		}
		out = reply.Append(out[:0], env, 9)
	}
}

func BenchmarkGetReply(b *testing.B) {
	env := testEnv()
	stored := append(engine.AppendValueHeader(nil, testNow+10, 0), make([]byte, 100)...)
	out := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		out = rrdb.AppendGetReply(out[:0], env, engine.Found, stored)
	}
}

func BenchmarkIncr(b *testing.B) {
	env := testEnv()
	args := (&proto.IncrRequest{Key: []byte(rawKey("user0001", "sort0001")), Increment: 1}).AppendArgs(nil)
	stored := append(engine.AppendValueHeader(nil, 0, 0), "12345678"...)
	var builder engine.BatchBuilder
	out := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		builder.Reset()
		reply, err := rrdb.Eval(&builder, env, proto.CodeIncr, args, engine.Found, stored)
		if err != nil {
			b.Fatal(err)
		}
		out = reply.Append(out[:0], env, 9)
	}
}

// BenchmarkRange reads 100 rows of 100 bytes; the store is the model, so what it costs is mostly that.
func BenchmarkRange(b *testing.B) {
	env, store := testEnv(), mem.New(mem.Options{})
	for i := range 100 {
		put(b, store, "user0001", fmt.Sprintf("sort%04d", i), string(make([]byte, 100)))
	}
	for name, req := range map[string]proto.MultiGetRequest{
		"forward": {HashKey: []byte("user0001")},
		"reverse": {HashKey: []byte("user0001"), Reverse: true},
	} {
		args := req.AppendArgs(nil)
		out := make([]byte, 0, 64<<10)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				read := mustRead(b, store, env, proto.CodeMultiGet, args)
				if state, err := read.Run(engine.TierCache, engine.SliceLimit{}); state != rrdb.Done {
					b.Fatal(state, err)
				}
				out = read.AppendReply(out[:0])
				read.Close()
			}
		})
	}
}
