package perf

import (
	"context"

	"pegasus/clientlib"
	"pegasus/netcore/proto"
)

// scanBatch is how many records a full scan asks for at a time, as the clients of Apache Pegasus do by default.
const scanBatch = 100

// tableScan is the place that a scan of a whole table has reached. It goes through one partition after the other, and from the last
// to the first again.
type tableScan struct {
	part    int
	context int64 // of the server's scanner; 0: the partition begins
}

// request makes the call ask for the next records.
func (s *tableScan) request(call *clientlib.Call, batch int) {
	call.Hash = uint64(s.part)
	if s.context > 0 {
		call.Code, call.Args = proto.CodeScan, proto.AppendScanArgs(call.Args[:0], s.context)
		return
	}
	first := proto.GetScannerRequest{
		Start: []byte{0, 0}, Stop: []byte{0xff, 0xff}, StartInclusive: true, BatchSize: int32(batch), FullScan: proto.BoolTrue,
	}
	call.Code, call.Args = proto.CodeGetScanner, first.AppendArgs(call.Args[:0])
}

// answer goes on to where the next request has to begin. A partition whose scanner the server has given up begins again.
func (s *tableScan) answer(r *proto.ScanResponse, partitions int) {
	s.context = max(0, r.Context)
	if r.Error == proto.StorageOK && s.context == 0 {
		s.part = (s.part + 1) % max(1, partitions)
	}
	if r.Error != proto.StorageOK {
		s.context = 0
	}
}

// FullScan reads a whole table, one partition after the other, and returns how many records it has and in how many batches they
// came.
func FullScan(ctx context.Context, t *clientlib.Table) (rows, batches int64, err error) {
	ended := make(chan struct{}, 1)
	call := clientlib.Call{OnDone: func(*clientlib.Call) { ended <- struct{}{} }}
	partitions := t.Partitions()
	var s tableScan
	for left := partitions; left > 0; {
		if err := ctx.Err(); err != nil {
			return rows, batches, err
		}
		s.request(&call, scanBatch)
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
		if s.answer(&r, partitions); s.context == 0 {
			left--
		}
	}
	return rows, batches, nil
}
