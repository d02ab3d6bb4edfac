package clientlib_test

import (
	"context"
	"testing"

	"pegasus/clientlib"
	"pegasus/clientlib/clienttest"
	"pegasus/netcore/proto"
)

// The fake server runs in this process: most of what this measures, and all that it allocates, is the server's.
// TestConnAllocatesNothing proves the client's share.
func BenchmarkPipelinedGet(bm *testing.B) {
	c := clienttest.New(bm, 1, 1, 1)
	_, table := dial(bm, c, clientlib.Options{})
	if err := table.Set(context.Background(), b("k"), nil, make([]byte, 100)); err != nil {
		bm.Fatal(err)
	}
	const depth = 64
	raw, err := clientlib.RawKey(nil, b("k"), nil)
	if err != nil {
		bm.Fatal(err)
	}
	free := make(chan *clientlib.Call, depth)
	for range depth {
		free <- &clientlib.Call{
			Code: proto.CodeGet, Hash: proto.RawKeyHash(raw), Args: proto.AppendBlobArg(nil, raw),
			OnDone: func(c *clientlib.Call) { free <- c },
		}
	}
	bm.ReportAllocs()
	for bm.Loop() {
		call := <-free
		if call.Err != nil {
			bm.Fatal(call.Err)
		}
		table.Do(call)
	}
	for range depth {
		<-free
	}
}
