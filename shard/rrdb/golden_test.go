package rrdb_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pegasus/engine"
	"pegasus/engine/mem"
	"pegasus/engine/rocks"
	"pegasus/netcore/proto"
	"pegasus/netcore/proto/golden"
	"pegasus/netcore/proto/golden/compare"
	"pegasus/shard/rrdb"
)

const serverName = "replica.test:34801"

// table is a table of the recordings with a store per partition.
type table struct {
	id         int32
	defaultTTL uint32
	idempotent bool
	splitCheck bool
	parts      []engine.Store
}

// replica answers requests on tables the way a replica server would, one after the other, with a clock of its own. A read
// is first tried from memory and, when that would block, run where it may.
type replica struct {
	tables   map[string]*table
	labels   map[int32]string
	now      time.Time
	handle   int64
	scanners map[int64]*rrdb.Scanner
	budget   engine.SliceLimit
	builder  engine.BatchBuilder
	gets     engine.GetBatch
}

// opener makes the empty store of a partition.
type opener func() engine.Store

func newReplica(t testing.TB, open opener) *replica {
	t.Helper()
	list, err := golden.Tables()
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{
		tables: map[string]*table{}, labels: map[int32]string{}, scanners: map[int64]*rrdb.Scanner{},
		now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
	}
	for i, def := range list {
		tab := &table{id: int32(i + 2), idempotent: def.AtomicIdempotent}
		if ttl := def.Envs["default_ttl"]; ttl != "" {
			n, err := strconv.ParseUint(ttl, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			tab.defaultTTL = uint32(n)
		}
		tab.splitCheck = def.Envs["replica.split.validate_partition_hash"] == "true"
		for range def.PartitionCount {
			tab.parts = append(tab.parts, open())
		}
		r.tables[def.Name], r.labels[tab.id] = tab, def.Name
	}
	r.leaveBehind(t)
	return r
}

// leaveBehind puts a record of another case where the recording had some: 06_scan/options reaches a limit in total order
// at the end of its own records (step 19), and the recorded server saw that more records followed in the partition.
func (r *replica) leaveBehind(t testing.TB) {
	t.Helper()
	var b engine.BatchBuilder
	b.Put(engine.AppendKey(nil, []byte("bounds_of_another_case/h"), []byte("s0")), 0, 0, []byte("v0"))
	if err := r.tables["gd_scan"].parts[2].Apply(1, b.Bytes()); err != nil {
		t.Fatal(err)
	}
}

func (r *replica) AppLabel(id int32) string { return r.labels[id] }

func (r *replica) Address(text string) string {
	if text == serverName {
		return "$replica"
	}
	return ""
}

// contexts resolves the patches of one case.
type contexts struct {
	*replica
	of map[int]int64
}

func (c contexts) AppID(name string) (int32, error) {
	if tab := c.tables[name]; tab != nil {
		return tab.id, nil
	}
	return 0, fmt.Errorf("no table %q", name)
}

func (c contexts) ContextID(step int) int64 { return c.of[step] }

func (r *replica) env(tab *table, part int32) *rrdb.Env {
	env := &rrdb.Env{
		GPID: proto.GPID{App: tab.id, Part: part}, Server: []byte(serverName),
		NowEpoch: uint32(r.now.Unix() - engine.EpochOffset), TimestampUS: r.now.UnixMicro(), ClusterID: 1,
		DefaultTTL: tab.defaultTTL, PartitionVersion: -1, DataVersion: engine.DataV1,
		Limits: rrdb.DefaultLimits, AtomicIdempotent: tab.idempotent,
	}
	if tab.splitCheck {
		env.PartitionVersion = int32(len(tab.parts)) - 1
	}
	return env
}

// handleRequest returns the result struct, or ok false when there is no reply.
func (r *replica) handleRequest(req *proto.Request) (result []byte, ok bool, err error) {
	tab := r.tables[r.labels[req.GPID.App]]
	if tab == nil || int(req.GPID.Part) >= len(tab.parts) {
		return nil, false, fmt.Errorf("no partition %v", req.GPID)
	}
	env, store := r.env(tab, req.GPID.Part), tab.parts[req.GPID.Part]
	if req.Code.IsWrite() {
		return r.write(env, store, req.Code, req.Args)
	}
	switch req.Code {
	case proto.CodeGet, proto.CodeTTL:
		return r.get(env, store, req.Code, req.Args)
	case proto.CodeGetScanner:
		sc, err := rrdb.NewScanner(store, env, req.Args)
		if err != nil {
			return nil, false, err
		}
		return r.scan(sc)
	case proto.CodeScan, proto.CodeClearScanner:
		return r.context(env, req.Code, req.Args)
	}
	read, err := rrdb.NewRead(store, env, req.Code, req.Args)
	if err != nil {
		return nil, false, err
	}
	defer read.Close()
	if err := r.finish(read); err != nil {
		return nil, false, err
	}
	return read.AppendReply(nil), true, nil
}

// finish runs a read to its end, from memory as long as that is possible.
func (r *replica) finish(read rrdb.Read) error {
	tier := engine.TierCache
	for {
		state, err := read.Run(tier, r.budget)
		switch state {
		case rrdb.Done:
			return nil
		case rrdb.WouldBlock:
			if tier == engine.TierAll {
				return fmt.Errorf("would block where it may")
			}
			tier = engine.TierAll
		case rrdb.Failed:
			return err
		}
	}
}

func (r *replica) get(env *rrdb.Env, store engine.Store, code proto.Code, args []byte) ([]byte, bool, error) {
	key, err := proto.DecodeBlobArg(args)
	if err != nil {
		return nil, false, err
	}
	if !rrdb.ValidKey(key) {
		return rrdb.AppendInvalidKeyReply(nil, env, code), true, nil
	}
	outcome, value := r.lookup(store, key)
	if code == proto.CodeTTL {
		return rrdb.AppendTTLReply(nil, env, outcome, value), true, nil
	}
	return rrdb.AppendGetReply(nil, env, outcome, value), true, nil
}

func (r *replica) lookup(store engine.Store, key []byte) (engine.Outcome, []byte) {
	r.gets.Reset()
	r.gets.Add(key)
	store.MultiGet(&r.gets, engine.TierAll)
	return r.gets.Outcome(0), r.gets.Value(0)
}

func (r *replica) write(env *rrdb.Env, store engine.Store, code proto.Code, args []byte) ([]byte, bool, error) {
	r.builder.Reset()
	var reply rrdb.Reply
	var err error
	if code.IsAtomic() {
		var key []byte
		if key, err = rrdb.AtomicKey(nil, code, args); err != nil {
			return nil, false, err
		}
		outcome, value := r.lookup(store, key)
		reply, err = rrdb.Eval(&r.builder, env, code, args, outcome, value)
	} else {
		reply, err = rrdb.Encode(&r.builder, env, code, args)
	}
	if err != nil {
		return nil, false, err
	}
	decree := store.AppliedDecree() + 1
	if reply.NeedsDecree(env) {
		if err := store.Apply(decree, r.builder.Bytes()); err != nil {
			return nil, false, err
		}
	} else if r.builder.Count() > 0 {
		return nil, false, fmt.Errorf("%v without a decree has %d records", code, r.builder.Count())
	}
	if reply.Silent() {
		return nil, false, nil
	}
	return reply.Append(nil, env, decree), true, nil
}

func (r *replica) scan(sc *rrdb.Scanner) ([]byte, bool, error) {
	if err := r.finish(sc); err != nil {
		return nil, false, err
	}
	if !sc.Unfinished() {
		defer sc.Close()
		return sc.AppendReply(nil), true, nil
	}
	r.handle++
	r.scanners[r.handle] = sc
	sc.SetHandle(r.handle)
	return sc.AppendReply(nil), true, nil
}

func (r *replica) context(env *rrdb.Env, code proto.Code, args []byte) ([]byte, bool, error) {
	decode := proto.DecodeScanArgs
	if code == proto.CodeClearScanner {
		decode = proto.DecodeClearScannerArgs
	}
	id, err := decode(args)
	if err != nil {
		return nil, false, err
	}
	sc := r.scanners[id]
	delete(r.scanners, id)
	switch {
	case code == proto.CodeClearScanner:
		if sc != nil {
			sc.Close()
		}
		return nil, false, nil
	case sc == nil:
		return rrdb.AppendNoScannerReply(nil, env), true, nil
	}
	sc.NextBatch(env)
	return r.scan(sc)
}

// replay runs one case and returns how many steps were compared.
func replay(t *testing.T, r *replica, c *golden.Case) int {
	names := contexts{replica: r, of: map[int]int64{}}
	for i := range c.Steps {
		s := &c.Steps[i]
		r.now = r.now.Add(time.Duration(s.SleepMS) * time.Millisecond)
		frame, err := s.Frame()
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if err := golden.Apply(frame, s.Patches, r.now, names); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		var req proto.Request
		if n, _, err := proto.ParseTHFT(frame, len(frame), &req); n != len(frame) || err != nil {
			t.Fatalf("%s: frame parsed to %d of %d bytes, %v", s, n, len(frame), err)
		}
		result, ok, err := r.handleRequest(&req)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		got := map[string]any{"outcome": string(golden.OutcomeNoReply)}
		if ok {
			to := req.ReplyTo()
			reply, mark := proto.AppendReply(nil, &to, proto.ErrOK, 0)
			reply = proto.FinishReply(append(reply, result...), mark)
			if got, err = compare.Reply(false, s.RPC, reply); err != nil {
				t.Errorf("%s: %v", s, err)
				continue
			}
			var scan proto.ScanResponse
			if (req.Code == proto.CodeGetScanner || req.Code == proto.CodeScan) && scan.DecodeResult(result) == nil {
				names.of[s.Step] = scan.Context
			}
			compare.Normalise(got, r.now, r)
		}
		for _, line := range compare.Diff(s, got) {
			t.Errorf("%s: %s", s, line)
		}
	}
	return len(c.Steps)
}

// replayable returns the recordings that depend on nothing but records: the data suites, and those cases of the error
// suite that are nothing but data requests with an answer.
func replayable(t testing.TB) []golden.Case {
	t.Helper()
	cases, err := golden.Load("01", "02", "03", "04", "05", "06")
	if err != nil {
		t.Fatal(err)
	}
	others, err := golden.Load("07")
	if err != nil {
		t.Fatal(err)
	}
	for i := range others {
		if !slices.ContainsFunc(others[i].Steps, needsServer) {
			cases = append(cases, others[i])
		}
	}
	return cases
}

// needsServer tells whether a step is about more than what a data request means.
func needsServer(s golden.Step) bool {
	code := proto.ParseCode([]byte(s.RPC))
	return s.Target != golden.TargetPrimary || s.Table == "" || !code.IsData() || code == proto.CodeDuplicate ||
		s.Framing != golden.FramingV0 && s.Framing != golden.FramingV1 || s.Response["err"] != "ERR_OK"
}

// replayAll runs all cases on a new replica.
func replayAll(t *testing.T, cases []golden.Case, budget engine.SliceLimit, open opener) {
	t.Helper()
	r := newReplica(t, open)
	r.budget = budget
	steps := 0
	for i := range cases {
		steps += replay(t, r, &cases[i])
	}
	for _, sc := range r.scanners {
		sc.Close()
	}
	if steps < 1500 {
		t.Errorf("only %d steps", steps)
	}
}

// TestGolden replays the recordings in process: every reply must have the recorded meaning, however reads are sliced and
// wherever they find records out of memory.
func TestGolden(t *testing.T) {
	cases := replayable(t)
	for name, setup := range map[string]struct {
		store  mem.Options
		budget engine.SliceLimit
	}{
		"plain":        {},
		"tiny slices":  {budget: engine.SliceLimit{MaxRows: 1}},
		"byte slices":  {budget: engine.SliceLimit{MaxBytes: 64}},
		"cold store":   {store: mem.Options{WouldBlock: func([]byte) bool { return true }}},
		"patchy store": {store: mem.Options{WouldBlock: patchy(3)}, budget: engine.SliceLimit{MaxRows: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			replayAll(t, cases, setup.budget, func() engine.Store { return mem.New(setup.store) })
		})
	}
}

// patchy makes every n-th lookup find its block out of memory.
func patchy(n int) func([]byte) bool {
	calls := 0
	return func([]byte) bool {
		calls++
		return calls%n == 0
	}
}

// TestGoldenOnRocks replays the recordings on the store that is used in earnest, whose iterators have their own opinion of
// bounds.
func TestGoldenOnRocks(t *testing.T) {
	cases := replayable(t)
	for name, budget := range map[string]engine.SliceLimit{"plain": {}, "small slices": {MaxRows: 3}} {
		t.Run(name, func(t *testing.T) {
			shared, err := rocks.NewShared(rocks.SharedOptions{BlockCacheBytes: 8 << 20, MemtableBytes: 64 << 20})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(shared.Close)
			replayAll(t, cases, budget, func() engine.Store {
				s, err := rocks.Open(t.TempDir(), rocks.Options{Shared: shared, WriteBufferBytes: 1 << 20})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				})
				return s
			})
		})
	}
}
