package perf

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"pegasus/clientlib"
	"pegasus/netcore/proto"
)

// Pegasus drives a cluster of this kind or of Apache Pegasus.
type Pegasus struct {
	Metas []string
	Table string
}

// Name implements Driver.
func (d *Pegasus) Name() string { return "pegasus" }

// Supports implements Driver.
func (d *Pegasus) Supports(Kind) bool { return true }

type pegasusConn struct {
	client *clientlib.Client
	table  *clientlib.Table
	slots  int // made so far
}

// Dial implements Driver.
func (d *Pegasus) Dial(ctx context.Context, depth int) (Conn, error) {
	client, err := clientlib.Dial(clientlib.Options{Metas: d.Metas, Pipeline: max(depth, 64)})
	if err != nil {
		return nil, err
	}
	table, err := client.OpenTable(ctx, d.Table)
	if err != nil {
		_ = client.Close()
		return nil, fmt.Errorf("opening table %s: %w", d.Table, err)
	}
	return &pegasusConn{client: client, table: table}, nil
}

func (c *pegasusConn) Close() { _ = c.client.Close() }

func (c *pegasusConn) Slot() Slot {
	s := &pegasusSlot{table: c.table, scan: tableScan{part: c.slots % max(1, c.table.Partitions())}}
	c.slots++
	s.call.OnDone = func(*clientlib.Call) { s.finish() }
	return s
}

// pegasusSlot keeps what its requests are made of, so that a steady load allocates nothing.
type pegasusSlot struct {
	table *clientlib.Table
	call  clientlib.Call
	op    *Op
	raw   []byte // raw key
	stop  []byte // raw key
	sort  []byte
	list  proto.List
	scan  tableScan
}

func (s *pegasusSlot) Blocks() bool { return false }

func (s *pegasusSlot) Start(op *Op) {
	s.op = op
	s.raw = appendRaw(s.raw[:0], op.HashKey, op.SortKey)
	call := &s.call
	call.Hash = proto.KeyHash(op.HashKey)
	args := call.Args[:0]
	switch op.Kind {
	case Get:
		call.Code = proto.CodeGet
		call.Args = proto.AppendBlobArg(args, s.raw)
	case Put, Insert:
		put := proto.PutRequest{Key: s.raw, Value: op.Value(0)}
		call.Code, call.Args = proto.CodePut, put.AppendArgs(args)
	case MultiGet:
		s.list.Reset()
		for i := range op.N {
			s.sort = op.sortKey(s.sort[:0], i)
			s.list.AddBlob(s.sort)
		}
		get := proto.MultiGetRequest{HashKey: op.HashKey, SortKeys: s.list, StartInclusive: true}
		call.Code, call.Args = proto.CodeMultiGet, get.AppendArgs(args)
	case MultiPut:
		s.list.Reset()
		for i := range op.N {
			s.sort = op.sortKey(s.sort[:0], i)
			s.list.AddKeyValue(proto.KeyValue{Key: s.sort, Value: op.Value(i)})
		}
		put := proto.MultiPutRequest{HashKey: op.HashKey, KVs: s.list}
		call.Code, call.Args = proto.CodeMultiPut, put.AppendArgs(args)
	case Scan:
		// To the exact end: a scanner that has more to give would have to be closed by another request.
		s.sort = op.sortKey(s.sort[:0], op.N-1)
		s.stop = appendRaw(s.stop[:0], op.HashKey, s.sort)
		scan := proto.GetScannerRequest{
			Start: s.raw, Stop: s.stop, StartInclusive: true, StopInclusive: true, BatchSize: int32(op.N) + 1,
		}
		call.Code, call.Args = proto.CodeGetScanner, scan.AppendArgs(args)
	case TableScan:
		s.scan.request(call, op.N)
	case Incr:
		incr := proto.IncrRequest{Key: s.raw, Increment: 1}
		call.Code, call.Args = proto.CodeIncr, incr.AppendArgs(args)
	case CheckAndSet:
		cas := proto.CheckAndSetRequest{
			HashKey: op.HashKey, CheckSortKey: op.SortKey, CheckType: proto.CheckExist, SetValue: op.Value(0),
		}
		call.Code, call.Args = proto.CodeCheckAndSet, cas.AppendArgs(args)
	default:
		op.Done(false, errUnsupported)
		return
	}
	s.table.Do(call)
}

func appendRaw(dst, hashKey, sortKey []byte) []byte {
	dst = append(dst, byte(len(hashKey)>>8), byte(len(hashKey)))
	return append(append(dst, hashKey...), sortKey...)
}

func (s *pegasusSlot) finish() {
	if s.call.Err != nil {
		s.op.Done(false, s.call.Err)
		return
	}
	s.op.Done(s.outcome(s.call.Result))
}

// outcome reads what a request came to: a check of what is counted as success, and whether it found something.
func (s *pegasusSlot) outcome(result []byte) (miss bool, err error) {
	var status proto.StorageStatus
	rows := 1
	switch s.op.Kind {
	case Get:
		var r proto.ReadResponse
		err = r.DecodeResult(result)
		status = r.Error
	case MultiGet:
		var r proto.MultiGetResponse
		err = r.DecodeResult(result)
		status, rows = r.Error, r.KVs.N
	case Scan:
		var r proto.ScanResponse
		err = r.DecodeResult(result)
		status, rows = r.Error, r.KVs.N
	case TableScan:
		var r proto.ScanResponse
		if err = r.DecodeResult(result); err == nil {
			s.scan.answer(&r, s.table.Partitions())
		}
		status = r.Error
	case Incr:
		var r proto.IncrResponse
		err = r.DecodeResult(result)
		status = r.Error
	case CheckAndSet:
		var r proto.CheckResponse
		err = r.DecodeResult(result)
		status = r.Error
		if status == proto.StorageTryAgain { // the check failed: no such record
			return true, err
		}
	default:
		var r proto.UpdateResponse
		err = r.DecodeResult(result)
		status = r.Error
	}
	switch {
	case err != nil:
		return false, err
	case s.op.Kind.read() && (status == proto.StorageNotFound || status == proto.StorageOK && rows == 0):
		return true, nil
	case status != proto.StorageOK:
		return false, &clientlib.ServerError{Status: status}
	}
	return false, nil
}

// Servers implements Driver: build and configuration profile belong to any number that is quoted.
func (d *Pegasus) Servers(ctx context.Context) []Server {
	client, err := clientlib.Dial(clientlib.Options{Metas: d.Metas})
	if err != nil {
		return nil
	}
	defer client.Close()
	addresses, err := primaries(ctx, client, d.Table)
	if err != nil {
		return []Server{{Address: strings.Join(d.Metas, ","), Version: "unknown: " + err.Error()}}
	}
	return profiles(ctx, addresses)
}

// primaries returns the addresses of the servers that a table is on.
func primaries(ctx context.Context, client *clientlib.Client, table string) ([]string, error) {
	cfg, err := client.QueryConfig(ctx, table)
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range cfg.Partitions {
		if a := cfg.Partitions[i].Primary; a.IsValid() {
			out = append(out, a.String())
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// profiles asks every server what it is: build and configuration profile belong to any number that is quoted.
func profiles(ctx context.Context, servers []string) []Server {
	client := http.Client{Timeout: versionTimeout}
	defer client.CloseIdleConnections()
	var out []Server
	for _, address := range servers {
		out = append(out, Server{Address: address, Version: version(ctx, &client, address)})
	}
	return out
}

// versionTimeout bounds asking a server what it is.
const versionTimeout = 2 * time.Second

// maxVersion bounds what is kept of a server's answer, in bytes.
const maxVersion = 1024

func version(ctx context.Context, client *http.Client, address string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/version", nil)
	if err != nil {
		return "unknown: " + err.Error()
	}
	resp, err := client.Do(req)
	if err != nil {
		return "unknown: " + err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxVersion))
	if err != nil || resp.StatusCode != http.StatusOK {
		return "unknown: " + resp.Status
	}
	return strings.TrimSpace(string(text))
}
