package shard

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"pegasus/engine"
	"pegasus/netcore/proto"
)

// A traced request is words, as everything in a remote command:
//
//	trace OPERATION APP_ID.PARTITION HASH_KEY [ARGUMENT ...]
//
// Operations are named as in the metrics; traceOperations lists them with their arguments.

// traceOperation makes one kind of request of words.
type traceOperation struct {
	usage string // behind APP_ID.PARTITION
	least int    // words of it
	most  int
	build func(w *traceWords) (proto.Code, []byte, error)
}

// traceWords are what a request is made of. What is taken from rest has been there: build is called when the number of words fits.
type traceWords struct {
	hash  []byte
	rest  []string
	epoch uint32 // now, seconds since 2016
}

func (w *traceWords) key() []byte { return engine.AppendKey(nil, w.hash, w.word()) }

func (w *traceWords) word() []byte {
	s := w.rest[0]
	w.rest = w.rest[1:]
	return []byte(s)
}

// words takes all the rest.
func (w *traceWords) words() (l proto.List) {
	for len(w.rest) > 0 {
		l.AddBlob(w.word())
	}
	return l
}

// expire takes a TTL in seconds, 0 for none, if there is one.
func (w *traceWords) expire() (int32, error) {
	if len(w.rest) == 0 {
		return 0, nil
	}
	ttl, err := strconv.ParseInt(string(w.word()), 10, 32)
	switch {
	case err != nil || ttl < 0:
		return 0, errors.New("a TTL is a number of seconds")
	case ttl == 0:
		return 0, nil
	}
	return int32(w.epoch + uint32(ttl)), nil
}

// anyWords is as many as a remote command may have.
const anyWords = math.MaxInt

var traceOperations = map[string]traceOperation{
	"get":       {"HASH_KEY SORT_KEY", 2, 2, point(proto.CodeGet)},
	"ttl":       {"HASH_KEY SORT_KEY", 2, 2, point(proto.CodeTTL)},
	"remove":    {"HASH_KEY SORT_KEY", 2, 2, point(proto.CodeRemove)},
	"set":       {"HASH_KEY SORT_KEY VALUE [TTL]", 3, 4, traceSet},
	"incr":      {"HASH_KEY SORT_KEY INCREMENT", 3, 3, traceIncr},
	"multi_get": {"HASH_KEY [SORT_KEY ...]", 1, anyWords, traceMultiGet},
	"batch_get": {"HASH_KEY SORT_KEY ...", 2, anyWords, traceBatchGet},
	"sortkey_count": {"HASH_KEY", 1, 1, func(w *traceWords) (proto.Code, []byte, error) {
		return proto.CodeSortkeyCount, proto.AppendBlobArg(nil, w.hash), nil
	}},
	"scan":      {"HASH_KEY [START_SORT_KEY [STOP_SORT_KEY]]", 1, 3, traceScan},
	"multi_set": {"HASH_KEY SORT_KEY VALUE ...", 3, anyWords, traceMultiSet},
	"multi_remove": {"HASH_KEY SORT_KEY ...", 2, anyWords, func(w *traceWords) (proto.Code, []byte, error) {
		m := proto.MultiRemoveRequest{HashKey: w.hash, SortKeys: w.words()}
		return proto.CodeMultiRemove, m.AppendArgs(nil), nil
	}},
	"check_and_set":    {"HASH_KEY CHECK_SORT_KEY CHECK_TYPE CHECK_OPERAND SET_SORT_KEY SET_VALUE [TTL]", 6, 7, traceCheckAndSet},
	"check_and_mutate": {"HASH_KEY CHECK_SORT_KEY CHECK_TYPE CHECK_OPERAND set SORT_KEY VALUE|del SORT_KEY ...", 6, anyWords, traceCheckAndMutate},
}

func traceUsage() string {
	return strings.Join(slices.Sorted(maps.Keys(traceOperations)), "|") + " APP_ID.PARTITION HASH_KEY [ARGUMENT ...]"
}

func parseTrace(args []string, epoch uint32) (*traceRequest, error) {
	if len(args) < 3 {
		return nil, errors.New("usage: trace " + traceUsage())
	}
	o, ok := traceOperations[args[0]]
	if !ok {
		return nil, fmt.Errorf("usage: trace %s; there is no operation %q", traceUsage(), args[0])
	}
	g, isID := parseReplicaName(args[1] + replicaSuffix)
	if n := len(args) - 2; !isID || n < o.least || n > o.most {
		return nil, fmt.Errorf("usage: trace %s APP_ID.PARTITION %s", args[0], o.usage)
	}
	w := &traceWords{hash: []byte(args[2]), rest: args[3:], epoch: epoch}
	if len(w.hash) > engine.MaxHashKeyLen {
		return nil, fmt.Errorf("a hash key has at most %d bytes", engine.MaxHashKeyLen)
	}
	// Only the hash key decides on the partition, unless it is empty: then the sort key does.
	t := &traceRequest{gpid: g, hash: proto.RawKeyHash(engine.AppendKey(nil, w.hash, []byte(strings.Join(args[3:min(len(args), 4)], ""))))}
	code, body, err := o.build(w)
	if err != nil {
		return nil, fmt.Errorf("%w; usage: trace %s APP_ID.PARTITION %s", err, args[0], o.usage)
	}
	frame, mark := proto.AppendRequest(nil, code, g, 1, 0, t.hash)
	t.frame = proto.FinishRequest(append(frame, body...), mark)
	return t, nil
}

// point makes a request whose argument is the key.
func point(code proto.Code) func(w *traceWords) (proto.Code, []byte, error) {
	return func(w *traceWords) (proto.Code, []byte, error) { return code, proto.AppendBlobArg(nil, w.key()), nil }
}

func traceSet(w *traceWords) (proto.Code, []byte, error) {
	m := proto.PutRequest{Key: w.key(), Value: w.word()}
	var err error
	m.Expire, err = w.expire()
	return proto.CodePut, m.AppendArgs(nil), err
}

func traceIncr(w *traceWords) (proto.Code, []byte, error) {
	m := proto.IncrRequest{Key: w.key()}
	var err error
	if m.Increment, err = strconv.ParseInt(string(w.word()), 10, 64); err != nil {
		return 0, nil, errors.New("an increment is a number")
	}
	return proto.CodeIncr, m.AppendArgs(nil), nil
}

func traceMultiGet(w *traceWords) (proto.Code, []byte, error) {
	m := proto.MultiGetRequest{HashKey: w.hash, SortKeys: w.words(), StartInclusive: true}
	return proto.CodeMultiGet, m.AppendArgs(nil), nil
}

func traceBatchGet(w *traceWords) (proto.Code, []byte, error) {
	var m proto.BatchGetRequest
	for len(w.rest) > 0 {
		m.Keys.AddFullKey(proto.FullKey{HashKey: w.hash, SortKey: w.word()})
	}
	return proto.CodeBatchGet, m.AppendArgs(nil), nil
}

// traceScan makes the first batch of a scan, with as many records as the server puts into one.
func traceScan(w *traceWords) (proto.Code, []byte, error) {
	m := proto.GetScannerRequest{Start: engine.AppendKey(nil, w.hash, nil), Stop: engine.AppendNextHashKey(nil, w.hash), StartInclusive: true}
	if len(w.rest) > 0 {
		m.Start = w.key()
	}
	if len(w.rest) > 0 && w.rest[0] != "" {
		m.Stop = w.key()
	}
	return proto.CodeGetScanner, m.AppendArgs(nil), nil
}

func traceMultiSet(w *traceWords) (proto.Code, []byte, error) {
	if len(w.rest)%2 != 0 {
		return 0, nil, errors.New("a sort key without a value")
	}
	m := proto.MultiPutRequest{HashKey: w.hash}
	for len(w.rest) > 0 {
		m.KVs.AddKeyValue(proto.KeyValue{Key: w.word(), Value: w.word()})
	}
	return proto.CodeMultiPut, m.AppendArgs(nil), nil
}

func traceCheckAndSet(w *traceWords) (proto.Code, []byte, error) {
	m := proto.CheckAndSetRequest{HashKey: w.hash, CheckSortKey: w.word()}
	var err error
	if m.CheckType, err = parseCheckType(string(w.word())); err != nil {
		return 0, nil, err
	}
	m.CheckOperand, m.SetSortKey, m.SetValue = w.word(), w.word(), w.word()
	m.SetDiffSortKey = string(m.SetSortKey) != string(m.CheckSortKey)
	m.SetExpire, err = w.expire()
	return proto.CodeCheckAndSet, m.AppendArgs(nil), err
}

func traceCheckAndMutate(w *traceWords) (proto.Code, []byte, error) {
	m := proto.CheckAndMutateRequest{HashKey: w.hash, CheckSortKey: w.word()}
	var err error
	if m.CheckType, err = parseCheckType(string(w.word())); err != nil {
		return 0, nil, err
	}
	m.CheckOperand = w.word()
	for len(w.rest) > 0 {
		switch op := string(w.word()); {
		case op == "set" && len(w.rest) >= 2:
			m.Mutations.AddMutation(proto.Mutation{Op: proto.MutatePut, SortKey: w.word(), Value: w.word()})
		case op == "del" && len(w.rest) >= 1:
			m.Mutations.AddMutation(proto.Mutation{Op: proto.MutateDelete, SortKey: w.word()})
		default:
			return 0, nil, fmt.Errorf("mutation %q: want set SORT_KEY VALUE or del SORT_KEY", op)
		}
	}
	return proto.CodeCheckAndMutate, m.AppendArgs(nil), nil
}

func parseCheckType(name string) (proto.CheckType, error) {
	if t, ok := proto.ParseCheckType(name); ok {
		return t, nil
	}
	return 0, fmt.Errorf("check type %q: want one of %s", name, strings.Join(proto.CheckTypeNames(), ", "))
}
