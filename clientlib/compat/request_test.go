package compat

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/clientlib"
	"pegasus/clientlib/clienttest"
	"pegasus/netcore/proto"
	"pegasus/netcore/proto/golden"
)

// fewest is how many recorded requests of each kind the client must be able to make, so that the test cannot become idle.
var fewest = map[proto.Code]int{
	proto.CodeGet: 190, proto.CodePut: 300, proto.CodeRemove: 30, proto.CodeTTL: 40, proto.CodeIncr: 100,
	proto.CodeMultiGet: 230, proto.CodeMultiPut: 45, proto.CodeMultiRemove: 5, proto.CodeSortkeyCount: 6,
	proto.CodeCheckAndSet: 115, proto.CodeCheckAndMutate: 115, proto.CodeGetScanner: 14,
}

// TestRequestBytes has the client make the requests that were recorded in front of an Apache Pegasus server, and compares the
// bytes: header and argument. Left out are those that the client never makes, such as bad arguments, and
// SCAN, whose only argument is a number that a server gave; what is concrete (app id,
// timeout, sequence number, the expiry that a time to live gave) is not compared.
func TestRequestBytes(t *testing.T) {
	cases, err := golden.Load("01", "02", "03", "04", "05", "06")
	if err != nil {
		t.Fatal(err)
	}
	tables, err := golden.Tables()
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]*replica{}
	for _, tb := range tables {
		open[tb.Name] = newReplica(t, tb.PartitionCount)
	}
	made := map[proto.Code]int{}
	for _, c := range cases {
		for i := range c.Steps {
			s := &c.Steps[i]
			r := open[s.Table]
			if s.Framing != golden.FramingV0 || r == nil {
				continue
			}
			want, err := s.Frame()
			if err != nil {
				t.Fatal(err)
			}
			var req proto.Request
			if n, _, err := proto.ParseTHFT(want, 1<<24, &req); err != nil || n != len(want) {
				continue
			}
			ttl, at := timeToLive(s)
			got := r.make(t, &req, ttl)
			if got == nil {
				continue
			}
			if why := differ(got, want, at); why != "" {
				t.Errorf("%v: %s differs\n got %x\nwant %x", s, why, got, want)
			}
			made[req.Code]++
		}
	}
	for code, n := range fewest {
		if made[code] < n {
			t.Errorf("%v: %d requests were compared, want %d", code, made[code], n)
		}
	}
	t.Log(made)
}

// timeToLive is what the recorded expiry of a step stands for, and where in the frame it is, 0 for nowhere.
func timeToLive(s *golden.Step) (ttl time.Duration, at int) {
	for _, p := range s.Patches {
		if p.Kind == golden.PatchExpireTS {
			return time.Duration(p.Delta) * time.Second, p.Offset
		}
	}
	return 0, 0
}

// Places in a version 0 frame (spec wire 1).
const (
	appAt, timeoutAt, threadAt = 24, 32, 36
	headerLen                  = 48
)

// differ compares two frames but for what is concrete.
func differ(got, want []byte, expireAt int) string {
	got, want = bytes.Clone(got), bytes.Clone(want)
	if len(got) != len(want) {
		return "length"
	}
	name := headerLen + 8 + int(binary.BigEndian.Uint32(want[headerLen+4:]))
	for _, b := range [][]byte{got, want} {
		for _, at := range []int{appAt, timeoutAt, threadAt, name} {
			binary.BigEndian.PutUint32(b[at:], 0)
		}
		if expireAt > 0 {
			binary.BigEndian.PutUint32(b[expireAt:], 0)
		}
	}
	switch {
	case !bytes.Equal(got[:headerLen], want[:headerLen]):
		return "header"
	case !bytes.Equal(got, want):
		return "body"
	}
	return ""
}

// replica is a server whose requests are looked at.
type replica struct {
	table *clientlib.Table
	c     *clienttest.Cluster
	want  atomic.Uint32 // proto.Code
	seen  chan []byte
}

func newReplica(t *testing.T, partitions int32) *replica {
	c := clienttest.New(t, 1, 1, int(partitions))
	r := &replica{c: c, seen: make(chan []byte, 1)}
	c.SetFrames(func(frame []byte) {
		var req proto.Request
		if _, _, err := proto.ParseTHFT(frame, 1<<24, &req); err != nil || proto.Code(r.want.Load()) != req.Code {
			return // a scanner asks for more by itself
		}
		select {
		case r.seen <- bytes.Clone(frame):
		default:
		}
	})
	client, err := clientlib.Dial(clientlib.Options{Metas: c.Metas()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if r.table, err = client.OpenTable(context.Background(), c.Table); err != nil {
		t.Fatal(err)
	}
	return r
}

// make has the client make a request, and returns its frame; nil when the client has no way to make it.
func (r *replica) make(t *testing.T, req *proto.Request, ttl time.Duration) []byte {
	ctx := context.Background()
	r.want.Store(uint32(req.Code))
	select {
	case <-r.seen:
	default:
	}
	ok, err := r.perform(ctx, req, ttl)
	if errors.Is(err, errUndecodable) || !ok || errors.Is(err, clientlib.ErrKey) || errors.Is(err, clientlib.ErrArgument) {
		return nil
	}
	select {
	case frame := <-r.seen:
		return frame
	case <-time.After(10 * time.Second):
		t.Fatalf("%v: the client sent nothing, %v", req.Code, err)
		return nil
	}
}

var errUndecodable = errors.New("the recorded argument cannot be read, or its key")

// perform carries out what a request asks for; ok is false when no operation of the client asks for just that. What the
// server answers does not matter.
func (r *replica) perform(ctx context.Context, req *proto.Request, ttl time.Duration) (ok bool, err error) {
	tb := r.table
	switch req.Code {
	case proto.CodeGet, proto.CodeTTL, proto.CodeRemove, proto.CodeSortkeyCount:
		key, err := proto.DecodeBlobArg(req.Args)
		if err != nil {
			return false, errUndecodable
		}
		if req.Code == proto.CodeSortkeyCount {
			_, err := tb.SortKeyCount(ctx, key)
			return true, err
		}
		h, s, err := clientlib.SplitKey(key)
		if err != nil {
			return false, errUndecodable
		}
		switch req.Code {
		case proto.CodeGet:
			_, err = tb.Get(ctx, h, s)
		case proto.CodeTTL:
			_, err = tb.TTL(ctx, h, s)
		default:
			err = tb.Del(ctx, h, s)
		}
		return true, err
	case proto.CodePut:
		var m proto.PutRequest
		if m.DecodeArgs(req.Args) != nil {
			return false, errUndecodable
		}
		h, s, err := clientlib.SplitKey(m.Key)
		if err != nil || m.Type != proto.UpdatePut || len(m.AppendArgs(nil)) != len(req.Args) || m.Expire != 0 && ttl <= 0 { // with fields for other purposes
			return false, err
		}
		return true, tb.SetTTL(ctx, h, s, m.Value, ttl)
	case proto.CodeIncr:
		var m proto.IncrRequest
		if m.DecodeArgs(req.Args) != nil {
			return false, errUndecodable
		}
		h, s, err := clientlib.SplitKey(m.Key)
		if err != nil || m.Expire != 0 && m.Expire != -1 && ttl <= 0 {
			return false, err
		}
		if m.Expire == -1 {
			ttl = -1
		}
		_, err = tb.IncrTTL(ctx, h, s, m.Increment, ttl)
		return true, err
	case proto.CodeGetScanner:
		return r.scan(ctx, req)
	}
	return r.many(ctx, req, ttl)
}

func (r *replica) many(ctx context.Context, req *proto.Request, ttl time.Duration) (ok bool, err error) {
	tb := r.table
	switch req.Code {
	case proto.CodeMultiGet:
		var m proto.MultiGetRequest
		if m.DecodeArgs(req.Args) != nil || m.MaxCount < 0 || m.MaxSize < 0 {
			return false, errUndecodable
		}
		o := &clientlib.MultiGetOptions{
			StartInclusive: m.StartInclusive, StopInclusive: m.StopInclusive, MaxFetchCount: int(m.MaxCount),
			MaxFetchSize: int(m.MaxSize), Reverse: m.Reverse, NoValue: m.NoValue,
			SortKeyFilter: clientlib.Filter{Type: clientlib.FilterType(m.FilterType), Pattern: m.FilterPattern},
		}
		if m.SortKeys.N > 0 {
			if len(m.Start)+len(m.Stop) > 0 {
				return false, nil
			}
			_, _, err = tb.MultiGetOpt(ctx, m.HashKey, blobs(m.SortKeys), o)
		} else {
			_, _, err = tb.MultiGetRangeOpt(ctx, m.HashKey, m.Start, m.Stop, o)
		}
		return true, err
	case proto.CodeMultiPut:
		var m proto.MultiPutRequest
		if m.DecodeArgs(req.Args) != nil || m.Expire != 0 && ttl <= 0 {
			return false, errUndecodable
		}
		var keys, values [][]byte
		list := m.KVs.Reader()
		for range m.KVs.N {
			kv := list.KeyValue()
			keys, values = append(keys, kv.Key), append(values, kv.Value)
		}
		return true, tb.MultiSetOpt(ctx, m.HashKey, keys, values, ttl)
	case proto.CodeMultiRemove:
		var m proto.MultiRemoveRequest
		if m.DecodeArgs(req.Args) != nil || m.MaxCount != 0 {
			return false, errUndecodable
		}
		return true, tb.MultiDel(ctx, m.HashKey, blobs(m.SortKeys))
	case proto.CodeCheckAndSet:
		var m proto.CheckAndSetRequest
		if m.DecodeArgs(req.Args) != nil || m.SetExpire != 0 && ttl <= 0 {
			return false, errUndecodable
		}
		set := m.CheckSortKey
		if m.SetDiffSortKey {
			set = m.SetSortKey
		}
		if m.SetDiffSortKey == bytes.Equal(set, m.CheckSortKey) || !m.SetDiffSortKey && len(m.SetSortKey) > 0 {
			return false, nil
		}
		_, err = tb.CheckAndSet(ctx, m.HashKey, m.CheckSortKey, clientlib.CheckType(m.CheckType), m.CheckOperand, set, m.SetValue,
			&clientlib.CheckAndSetOptions{SetValueTTLSeconds: int(ttl / time.Second), ReturnCheckValue: m.ReturnCheckValue})
		return true, err
	case proto.CodeCheckAndMutate:
		return r.mutate(ctx, req, ttl)
	}
	return false, nil
}

func (r *replica) mutate(ctx context.Context, req *proto.Request, ttl time.Duration) (ok bool, err error) {
	var m proto.CheckAndMutateRequest
	if m.DecodeArgs(req.Args) != nil {
		return false, errUndecodable
	}
	var mutations []clientlib.Mutation
	expiring := 0
	list := m.Mutations.Reader()
	for range m.Mutations.N {
		u := list.Mutation()
		mutation := clientlib.Mutation{SortKey: u.SortKey, Del: u.Op == proto.MutateDelete, Value: u.Value}
		switch {
		case u.Op != proto.MutatePut && u.Op != proto.MutateDelete || mutation.Del && (len(u.Value) > 0 || u.Expire != 0):
			return false, nil
		case u.Expire != 0:
			mutation.TTL = ttl
			expiring++
		}
		mutations = append(mutations, mutation)
	}
	if expiring > 1 || expiring == 1 && ttl <= 0 {
		return false, nil
	}
	_, err = r.table.CheckAndMutate(ctx, m.HashKey, m.CheckSortKey, clientlib.CheckType(m.CheckType), m.CheckOperand, mutations,
		&clientlib.CheckAndMutateOptions{ReturnCheckValue: m.ReturnCheckValue})
	return true, err
}

func (r *replica) scan(ctx context.Context, req *proto.Request) (ok bool, err error) {
	var m proto.GetScannerRequest
	if m.DecodeArgs(req.Args) != nil || m.BatchSize <= 0 ||
		m.OnlyReturnCount != proto.BoolUnset || m.ValidateHash != proto.BoolUnset || m.FullScan != proto.BoolUnset || m.ReturnExpire == proto.BoolFalse {
		return false, errUndecodable
	}
	h, start, err := clientlib.SplitKey(m.Start)
	if err != nil || len(h) == 0 || req.Hash != proto.KeyHash(h) {
		return false, errUndecodable
	}
	prefix, _ := clientlib.RawKey(nil, h, nil)
	prefix[len(prefix)-1]++ // no recorded hash key ends with 0xff
	stopHash, stop, err := clientlib.SplitKey(m.Stop)
	switch {
	case bytes.Equal(m.Stop, prefix) && !m.StopInclusive:
		stop = nil
	case err != nil || !bytes.Equal(stopHash, h) || len(stop) == 0:
		return false, errUndecodable
	}
	if len(start) == 0 && !m.StartInclusive || bytes.Compare(m.Start, m.Stop) > 0 { // such a range the client knows to be empty
		return false, errUndecodable
	}
	s, err := r.table.GetScanner(ctx, h, start, stop, &clientlib.ScannerOptions{
		BatchSize: int(m.BatchSize), StartInclusive: m.StartInclusive, StopInclusive: m.StopInclusive, NoValue: m.NoValue,
		HashKeyFilter: clientlib.Filter{Type: clientlib.FilterType(m.HashFilterType), Pattern: m.HashFilter},
		SortKeyFilter: clientlib.Filter{Type: clientlib.FilterType(m.SortFilterType), Pattern: m.SortFilter},
		ReturnTTL:     m.ReturnExpire == proto.BoolTrue,
	})
	if err != nil {
		return true, err
	}
	_, err = s.NextRecord(ctx)
	return true, errors.Join(err, s.Close())
}

func blobs(l proto.List) (out [][]byte) {
	r := l.Reader()
	for range l.N {
		out = append(out, r.Blob())
	}
	return out
}
