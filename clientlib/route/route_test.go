package route

import (
	"fmt"
	"testing"
	"time"

	"pegasus/netcore/proto"
)

const ms = time.Millisecond

// server i of the tests.
func server(i int) proto.RPCAddress { return proto.RPCAddress(0x7f000001<<32 | uint64(1000+i)<<16 | 1) }

// layout is an answer of meta: primaries by partition, -1 for none.
func layout(app int32, primaries ...int) *proto.QueryCfgResponse {
	r := &proto.QueryCfgResponse{AppID: app, PartitionCount: int32(len(primaries))}
	for i, p := range primaries {
		pc := proto.PartitionConfiguration{PID: proto.GPID{App: app, Part: int32(i)}, Ballot: 3}
		if p >= 0 {
			pc.Primary = server(p)
		}
		r.Partitions = append(r.Partitions, pc)
	}
	return r
}

// about keeps the partitions of an answer that were asked for.
func about(r *proto.QueryCfgResponse, parts ...int32) *proto.QueryCfgResponse {
	out := *r
	out.Partitions = nil
	for _, p := range parts {
		out.Partitions = append(out.Partitions, r.Partitions[p])
	}
	return &out
}

// known is a table after a first answer.
func known(t *testing.T, primaries ...int) *Table {
	t.Helper()
	tb := &Table{Rand: 7}
	if q, _, ok := tb.Next(0); !ok || q.Partitions != nil {
		t.Fatalf("the first question is %v, %v", q, ok)
	}
	if changed, err := tb.Answer(0, layout(2, primaries...)); !changed || err != nil {
		t.Fatal(changed, err)
	}
	return tb
}

// due moves time on to the next question.
func due(t *testing.T, tb *Table, now *time.Duration) Question {
	t.Helper()
	q, wait, ok := tb.Next(*now)
	if !ok && wait >= 0 {
		*now += wait
		q, _, ok = tb.Next(*now)
	}
	if !ok {
		t.Fatal("no question is due")
	}
	return q
}

func TestOneQuestionForAll(t *testing.T) {
	tb := known(t, 0, 1, 2, 0)
	now := time.Second
	for range 1000 {
		if tb.Suspect(2, 1) {
			t.Fatal("there is nothing newer yet")
		}
	}
	if q := due(t, tb, &now); len(q.Partitions) != 1 || q.Partitions[0] != 2 {
		t.Fatalf("asks %v", q)
	}
	tb.Suspect(2, 1) // another request fails while the question is under way
	if _, wait, ok := tb.Next(now); ok || wait >= 0 {
		t.Fatal("a second question beside the first")
	}
	changed, err := tb.Answer(now, about(layout(2, 0, 1, 1, 0), 2))
	if !changed || err != nil {
		t.Fatal(changed, err)
	}
	if e := tb.Map().Entries; e[2].Primary != server(1).String() || e[1].At != 1 || e[2].At != 2 {
		t.Fatalf("%+v", e)
	}
	if !tb.Suspect(2, 1) {
		t.Fatal("who was routed by the old map must be told of the new one")
	}
}

func TestQuestionsKeepTheirDistance(t *testing.T) {
	tb := known(t, 0, 1)
	now, asked, end := time.Duration(0), 0, 60*time.Second
	for now < end {
		tb.Suspect(0, tb.Map().Version)
		q := due(t, tb, &now)
		asked++
		if asked%2 == 0 {
			tb.Fail(now)
		} else if changed, err := tb.Answer(now, about(layout(2, 0, 1), q.Partitions...)); changed || err != nil {
			t.Fatal(changed, err)
		}
	}
	if asked < 40 || asked > 90 {
		t.Errorf("%d questions in a minute that bring nothing new", asked)
	}
	tb.Suspect(0, tb.Map().Version)
	q := due(t, tb, &now)
	if changed, _ := tb.Answer(now, about(layout(2, 1, 1), q.Partitions...)); !changed {
		t.Error("a change is not noticed")
	}
	tb.Suspect(0, tb.Map().Version)
	if _, wait, _ := tb.Next(now); wait > 3*askFirst/2 {
		t.Errorf("after news the distance is %v", wait)
	}
}

func TestManyPartitionsInDoubtAskForAll(t *testing.T) {
	tb := known(t, 0, 0, 0, 0)
	now := time.Second
	for p := range int32(3) {
		tb.Suspect(p, 1)
	}
	if q := due(t, tb, &now); q.Partitions != nil {
		t.Errorf("asks %v", q)
	}
	tb.Fail(now)
	if q := due(t, tb, &now); q.Partitions != nil {
		t.Errorf("asks %v after a failure", q)
	}
}

func TestFailedQuestionIsAskedAgain(t *testing.T) {
	tb := known(t, 0, 0, 0, 0)
	now := time.Second
	tb.Suspect(3, 1)
	due(t, tb, &now)
	tb.Fail(now)
	if q := due(t, tb, &now); fmt.Sprint(q.Partitions) != "[3]" {
		t.Errorf("asks %v", q)
	}
}

func TestAnotherTableOfTheName(t *testing.T) {
	for name, after := range map[string]*proto.QueryCfgResponse{
		"created again":      layout(9, 1, 1, 1, 1),
		"partitions doubled": layout(2, 0, 0, 0, 0, 0, 0, 0, 0),
	} {
		tb := known(t, 0, 0, 0, 0)
		now := time.Second
		tb.Suspect(1, 1)
		q := due(t, tb, &now)
		if changed, err := tb.Answer(now, about(after, q.Partitions...)); changed || err != nil {
			t.Fatal(name, changed, err)
		}
		if q, _, ok := tb.Next(now); !ok || q.Partitions != nil {
			t.Fatalf("%s: then asks %v, %v", name, q, ok)
		}
		if changed, err := tb.Answer(now, after); !changed || err != nil {
			t.Fatal(name, changed, err)
		}
		if m := tb.Map(); m.App != after.AppID || len(m.Entries) != len(after.Partitions) {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestTableThatIsGone(t *testing.T) {
	tb := known(t, 0, 0)
	now := time.Second
	tb.Suspect(0, 1)
	due(t, tb, &now)
	if changed, err := tb.Answer(now, &proto.QueryCfgResponse{Err: proto.ErrObjectNotFound}); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if tb.Gone() != proto.ErrObjectNotFound {
		t.Fatal(tb.Gone())
	}
	due(t, tb, &now)
	if changed, err := tb.Answer(now, about(layout(2, 0, 0), 0)); !changed || err != nil || tb.Gone() != proto.ErrOK {
		t.Error(changed, err, tb.Gone())
	}
}

func TestUnfinishedSplit(t *testing.T) {
	r := layout(2, 0, 1, -1, 2)
	r.Partitions[2].Ballot = -1
	tb := &Table{}
	tb.Next(0)
	if _, err := tb.Answer(0, r); err != nil {
		t.Fatal(err)
	}
	for hash, want := range map[uint64]int32{0: 0, 1: 1, 2: 0, 3: 3, 6: 0, 7: 3} {
		if p := tb.Map().Partition(hash); p != want {
			t.Errorf("hash %d goes to partition %d", hash, p)
		}
	}
}

func TestAnswersWithoutSense(t *testing.T) {
	short := layout(2, 0, 0)
	short.PartitionCount = 3
	swapped := layout(2, 0, 0)
	swapped.Partitions[0].PID.Part = 1
	child := layout(2, 0, 0)
	child.Partitions[0].Ballot = -1
	odd := layout(2, 0)
	odd.Partitions[0].Ballot = -1
	for i, r := range []*proto.QueryCfgResponse{{}, short, swapped, child, odd} {
		tb := &Table{}
		tb.Next(0)
		if _, err := tb.Answer(0, r); err == nil {
			t.Errorf("answer %d is taken", i)
		}
		if _, wait, ok := tb.Next(0); ok || wait < 0 {
			t.Errorf("answer %d: asked again %v, in %v", i, ok, wait)
		}
	}
	tb := known(t, 0, 0, 0, 0)
	tb.Suspect(1, 1)
	tb.Next(time.Second)
	wild := about(layout(2, 0, 0, 0, 0), 1)
	wild.Partitions[0].PID.Part = 4
	if _, err := tb.Answer(time.Second, wild); err == nil {
		t.Error("a partition out of range is taken")
	}
}

func TestAddresses(t *testing.T) {
	r := layout(2, 0, -1, -1)
	r.Partitions[1].HPPrimary = proto.NewHostPort("db1.example", 34801)
	r.Partitions[2].HPPrimary = proto.NewHostPort("::1", 34801)
	r.Partitions[0].HPPrimary = proto.NewHostPort("localhost", 1000)
	r.Partitions[0].Secondaries = []proto.RPCAddress{server(1), 0}
	r.Partitions[0].HPSecondaries = []proto.HostPort{proto.NewHostPort("x", 1), proto.NewHostPort("y", 2)}
	tb := &Table{}
	tb.Next(0)
	if _, err := tb.Answer(0, r); err != nil {
		t.Fatal(err)
	}
	e := tb.Map().Entries
	got := fmt.Sprint(e[0].Primary, e[0].Secondaries, e[1].Primary, " ", e[2].Primary)
	if want := "127.0.0.1:1000[127.0.0.1:1001 y:2]db1.example:34801 [::1]:34801"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Requests go to the port of the shard that owns the partition, where servers announce such ports.
func TestShardPorts(t *testing.T) {
	r := layout(2, 0, 0, 1, 2)
	r.Partitions[2].HPPrimary, r.Partitions[2].Primary = proto.NewHostPort("::1", 700), 0
	r.Shards = []proto.ServerShards{
		{Server: server(0), Count: 2, First: 5000}, {HPServer: proto.NewHostPort("::1", 700), Count: 1, First: 6000},
		{Server: server(2), Count: 2, First: 65535}, {Server: server(3), Count: 0, First: 1}, // make no sense
	}
	tb := &Table{}
	tb.Next(0)
	if _, err := tb.Answer(0, r); err != nil {
		t.Fatal(err)
	}
	m := tb.Map()
	at := func(part int32) string { return m.Shard(m.Entries[part].Primary, part) }
	first := 5000 + int(proto.Placement(proto.GPID{App: 2, Part: 0}, 2))
	if got, want := at(0)+" "+at(1), fmt.Sprintf("127.0.0.1:%d 127.0.0.1:%d", first, 10001-first); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if at(2) != "[::1]:6000" || at(3) != server(2).String() {
		t.Errorf("%s, %s", at(2), at(3))
	}
	// An answer about one partition keeps what is known of the others, and brings a server that has restarted with more shards.
	tb.Suspect(3, 1)
	tb.Next(time.Second)
	part := about(layout(2, 0, 0, 1, 2), 3)
	part.Shards = []proto.ServerShards{{Server: server(2), Count: 1, First: 9000}}
	if _, err := tb.Answer(time.Second, part); err != nil {
		t.Fatal(err)
	}
	if m = tb.Map(); at(3) != "127.0.0.1:9000" || at(2) != "[::1]:6000" {
		t.Errorf("%s, %s", at(3), at(2))
	}
}

func TestMetas(t *testing.T) {
	m := &Metas{Rand: 3}
	m.Set([]string{"a", "b", "c"})
	step := func(want string, code proto.ErrCode, leader string, again, pauses bool) {
		t.Helper()
		if got := m.Pick(); got != want {
			t.Fatalf("asks %s, want %s", got, want)
		}
		if a, pause := m.Answered(want, code, leader); a != again || (pause > 0) != pauses {
			t.Fatalf("again %v after %v", a, pause)
		}
	}
	fails := func(want string, pauses bool) {
		t.Helper()
		if got := m.Pick(); got != want {
			t.Fatalf("asks %s, want %s", got, want)
		}
		if pause := m.Failed(want); (pause > 0) != pauses {
			t.Fatalf("pause %v", pause)
		}
	}
	fails("a", false)
	step("b", proto.ErrForwardToOthers, "c", true, false)
	step("c", proto.ErrOK, "", false, false)
	step("c", proto.ErrObjectNotFound, "", false, false)
	fails("c", false) // the leader dies; the list goes on where it was
	step("b", proto.ErrForwardToOthers, "", true, false)
	step("c", proto.ErrServiceNotActive, "", true, true) // a whole round
	step("a", proto.ErrForwardToOthers, "d", true, false)
	step("d", proto.ErrOK, "", false, false) // a leader that is not in the list

	// Two that name each other do not spin.
	free := 0
	for range 100 {
		at := m.Pick()
		other := "a"
		if at == "a" {
			other = "b"
		}
		if again, pause := m.Answered(at, proto.ErrForwardToOthers, other); again && pause == 0 {
			free++
		}
	}
	if free > 80 {
		t.Errorf("%d questions of 100 without a pause", free)
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		outcome     Outcome
		code        proto.ErrCode
		read, write Step
		suspect     bool
	}{
		{Replied, proto.ErrOK, Done, Done, false},
		{Replied, proto.ErrInvalidState, Again, Again, true},
		{Replied, proto.ErrObjectNotFound, Again, Again, true},
		{Replied, proto.ErrParentPartitionMisused, Again, Again, true},
		{Replied, proto.ErrNotEnoughMember, Again, Again, false},
		{Replied, proto.ErrCapacityExceeded, Again, Again, false},
		{Replied, proto.ErrSplitting, Again, Again, false},
		{Replied, proto.ErrBusy, Again, Again, false},
		{Replied, proto.ErrDiskInsufficient, Exhausted, Exhausted, false},
		{Replied, proto.ErrACLDeny, Refused, Refused, false},
		{Replied, proto.ErrInvalidData, Refused, Refused, false},
		{Replied, proto.ErrTimeout, Again, Doubtful, false},
		{Replied, proto.ErrUnknown, Refused, Doubtful, false},
		{Unsent, proto.ErrOK, Again, Again, true},
		{Lost, proto.ErrOK, Again, Doubtful, true},
		{Late, proto.ErrOK, Exhausted, Doubtful, true},
	} {
		for write, want := range map[bool]Step{false: c.read, true: c.write} {
			rnd := Rand(1)
			v := new(Attempts).Judge(write, c.outcome, c.code, time.Minute, &rnd)
			if v.Step != want || v.Suspect != c.suspect || (v.Pause > 0) != (want == Again) {
				t.Errorf("outcome %d, code %v, write %v: %+v, want step %d", c.outcome, c.code, write, v, want)
			}
		}
	}
}

func TestPausesGrowAndEnd(t *testing.T) {
	var a Attempts
	rnd := Rand(5)
	total, n := time.Duration(0), 0
	for left := 10 * time.Second; ; n++ {
		v := a.Judge(true, Replied, proto.ErrNotEnoughMember, left, &rnd)
		if v.Step == Exhausted {
			break
		}
		if v.Pause > 3*againMost/2 {
			t.Fatalf("pause %v", v.Pause)
		}
		left -= v.Pause
		total += v.Pause
	}
	if n < 30 || n > 70 || total >= 10*time.Second {
		t.Errorf("%d attempts in %v", n, total)
	}
	a, n = Attempts{}, 0
	for a.Judge(true, Replied, proto.ErrBusy, time.Hour, &rnd).Step == Again {
		n++
	}
	if n != busyTries-1 {
		t.Errorf("%d attempts at a busy server", n)
	}
}

func TestSpread(t *testing.T) {
	rnd := Rand(1)
	low, high := time.Hour, time.Duration(0)
	for range 10000 {
		d := rnd.Spread(100 * ms)
		low, high = min(low, d), max(high, d)
	}
	if low < 50*ms || high >= 150*ms || high-low < 95*ms {
		t.Errorf("spread from %v to %v", low, high)
	}
	if rnd.Spread(0) != 0 {
		t.Error("no pause became one")
	}
}

func TestCircuit(t *testing.T) {
	var c Circuit
	rnd := Rand(2)
	if !c.Allow(0) || c.Doubtful() {
		t.Fatal("a server without a history is left alone")
	}
	now, last := time.Duration(0), time.Duration(0)
	for i := range 10 {
		c.Failed(now, &rnd)
		if c.Allow(now) || !c.Doubtful() {
			t.Fatal("closed after a failure")
		}
		wait := time.Duration(0)
		for ; !c.Allow(now + wait); wait += ms {
		}
		if least := doubled(openFirst, openMost, i) / 2; wait < least || wait > 3*openMost/2+ms {
			t.Errorf("failure %d: open for %v after %v", i+1, wait, last)
		}
		now, last = now+wait, wait
	}
	if last < time.Second {
		t.Errorf("after ten failures open for %v", last)
	}
	c.Succeeded()
	if !c.Allow(now) || c.Doubtful() {
		t.Error("open after a success")
	}
}

func TestSilence(t *testing.T) {
	var s Silence
	replies := uint64(5)
	heard := func(from, to time.Duration, inFlight bool) (alarms []Alarm, at []time.Duration) {
		for now := from; now <= to; now += 10 * ms {
			if a := s.Look(now, replies, inFlight); a != NoAlarm {
				alarms, at = append(alarms, a), append(at, now)
			}
		}
		return alarms, at
	}
	if a, _ := heard(0, 10*time.Second, false); a != nil {
		t.Errorf("nothing in flight: %v", a)
	}
	from := 20 * time.Second
	a, at := heard(from, from+3*time.Second, true)
	if fmt.Sprint(a) != fmt.Sprint([]Alarm{SuspectIt, PingIt}) || at[0] != from+SuspectAfter || at[1] != from+pingAfter {
		t.Errorf("%v at %v", a, at)
	}
	replies++ // it lives
	if a, at = heard(from+3*time.Second, from+3*time.Second+pingAfter-10*ms, true); len(a) != 1 || a[0] != SuspectIt {
		t.Errorf("after a reply: %v at %v", a, at)
	}
	replies++
	from += 10 * time.Second
	if a, at = heard(from, from+6*time.Second, true); len(a) != 3 || a[2] != DropIt || at[2] != from+silentMost {
		t.Errorf("%v at %v", a, at)
	}
}

func TestHedgeFollowsTheTail(t *testing.T) {
	h := Hedge{Budget: 0.05}
	if _, ok := h.Delay(); ok {
		t.Error("a second attempt before anything is known")
	}
	rnd := Rand(9)
	latency := func() time.Duration { return 2*ms + time.Duration(rnd.Below(10000))*time.Microsecond } // even from 2 to 12 ms
	for range 20000 {
		h.Took(latency())
	}
	d, ok := h.Delay()
	if late := float64(12*ms-d) / float64(10*ms); !ok || late < 0.02 || late > 0.09 {
		t.Errorf("the delay is %v, which %.1f %% of the reads exceed", d, 100*late)
	}
	spent := 0
	for h.Spend() {
		spent++
	}
	if spent != hedgeBurst {
		t.Errorf("%d second attempts at once", spent)
	}
	for range 1000 {
		h.Took(latency())
		if h.Spend() {
			spent++
		}
	}
	if n := spent - hedgeBurst; n < 45 || n > 50 {
		t.Errorf("%d second attempts for 1000 reads", n)
	}
	for range 1000 {
		h.Took(time.Hour)
	}
	if d, _ := h.Delay(); d > hedgeMost {
		t.Errorf("the delay is %v", d)
	}
}
