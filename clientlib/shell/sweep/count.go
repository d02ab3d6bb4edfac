package sweep

import (
	"context"
	"errors"

	"pegasus/clientlib"
	"pegasus/netcore/proto"
)

// Countable tells whether the servers can count what passes the filters without sending records: they know neither exact
// keys nor conditions on values.
func (r *Request) Countable() bool {
	return r.Value.Match == Any && r.SortKey.Match != Exact && r.HashKey.Match != Exact
}

// errForgotten is a server that cannot go on with a count: unlike records, a number cannot be taken up where it stopped.
var errForgotten = errors.New("the server cannot go on with the count; count again")

// firstKey is the least raw key, and no raw key is as great as behindAll.
var (
	firstKey  = []byte{0, 0}
	behindAll = []byte{0xff, 0xff}
)

// Count has the servers count the records of partitions that pass the filters; see Table for the rest. REQUIRES:
// r.Countable().
func Count(ctx context.Context, t *clientlib.Table, r Request, parts []int, parallel int, f func(part, n int), done func(part int)) error {
	return eachPart(ctx, parts, parallel, func(ctx context.Context, p int) error {
		o := r.Options()
		req := proto.GetScannerRequest{
			Start: firstKey, StartInclusive: true, Stop: behindAll, BatchSize: int32(o.BatchSize), NoValue: true,
			HashFilterType: proto.FilterType(o.HashKeyFilter.Type), HashFilter: o.HashKeyFilter.Pattern,
			SortFilterType: proto.FilterType(o.SortKeyFilter.Type), SortFilter: o.SortKeyFilter.Pattern,
			FullScan: proto.BoolTrue, OnlyReturnCount: proto.BoolTrue,
		}
		code, args := proto.CodeGetScanner, req.AppendArgs(nil)
		for {
			body, err := t.Exec(ctx, code, uint64(p), args)
			if err != nil {
				return err
			}
			var resp proto.ScanResponse
			if err := resp.DecodeResult(body); err != nil {
				return err
			}
			if resp.Error != proto.StorageOK {
				return errors.Join(errForgotten, &clientlib.ServerError{Status: resp.Error})
			}
			// A server that does not count sends the records after all.
			n := resp.KVs.N
			if resp.HasCount {
				n = int(resp.Count)
			}
			f(p, n)
			if resp.Context == proto.ScanCompleted || resp.Context == proto.ScanNone {
				return nil
			}
			code, args = proto.CodeScan, proto.AppendScanArgs(nil, resp.Context)
		}
	}, done)
}
