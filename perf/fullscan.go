package perf

import (
	"context"

	"pegasus/clientlib"
	"pegasus/netcore/proto"
)

// scanBatch is how many records a full scan asks for at a time, as the clients of Apache Pegasus do by default.
const scanBatch = 100

// FullScan reads a whole table, one partition after the other, and returns how many records it has and in how many batches they
// came.
func FullScan(ctx context.Context, t *clientlib.Table) (rows, batches int64, err error) {
	ended := make(chan struct{}, 1)
	call := clientlib.Call{OnDone: func(*clientlib.Call) { ended <- struct{}{} }}
	for part := range t.Partitions() {
		first := proto.GetScannerRequest{Start: []byte{0, 0}, Stop: []byte{0xff, 0xff}, StartInclusive: true, BatchSize: scanBatch, FullScan: proto.BoolTrue}
		call.Code, call.Args, call.Hash = proto.CodeGetScanner, first.AppendArgs(call.Args[:0]), uint64(part)
		for more := true; more; {
			if err := ctx.Err(); err != nil {
				return rows, batches, err
			}
			t.Do(&call)
			<-ended // the client ends every call by its deadline
			if call.Err != nil {
				return rows, batches, call.Err
			}
			var r proto.ScanResponse
			if err := r.DecodeResult(call.Result); err != nil {
				return rows, batches, err
			}
			if r.Error != proto.StorageOK {
				return rows, batches, &clientlib.ServerError{Status: r.Error}
			}
			rows, batches = rows+int64(r.KVs.N), batches+1
			more = r.Context > 0
			call.Code, call.Args = proto.CodeScan, proto.AppendScanArgs(call.Args[:0], r.Context)
		}
	}
	return rows, batches, nil
}
