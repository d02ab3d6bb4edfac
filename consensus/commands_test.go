package consensus

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/datadriven"

	"pegasus/netcore/proto"
)

// run carries out one command of a script. Arguments without a name are nodes.
func (w *world) run(d *datadriven.TestData) {
	var names []string
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 && len(a.Key) == 1 {
			names = append(names, a.Key)
		}
	}
	all := names
	if len(all) == 0 {
		all = w.names
	}
	arg := func(key, missing string) string {
		d.MaybeScanArgs(w.t, key, &missing)
		return missing
	}
	switch d.Cmd {
	case "group": // group primary=a secondaries=(b,c) ballot=1 min=2: the register, and everybody told of it
		w.doGroup(d)
	case "propose": // propose a v1 v2 ...: one mutation each
		n := w.node(d.CmdArgs[0].Key)
		for _, v := range d.CmdArgs[1:] {
			if v.Key == "quiet" {
				continue
			}
			n.stamp = max(n.stamp, n.replica.Timestamp()) + 1
			n.step(&Event{Kind: EventPropose, Timestamp: n.stamp, Batch: []byte(v.Key), Tokens: []uint64{uint64(n.stamp)}})
		}
	case "sync": // sync [a ...]: what was appended is durable
		for _, name := range all {
			w.node(name).sync()
		}
	case "report": // report a ballot=1 decree=2: the log says that this record is durable
		w.node(names[0]).step(&Event{
			Kind: EventLogSynced, Ballot: proto.Ballot(decree(arg("ballot", "0"))), Decree: decree(arg("decree", "0")),
		})
	case "deliver": // deliver [from=a] [to=b] [type=Prepare]: what waits now, and not what that brings about
		for _, e := range w.take(arg("from", ""), arg("to", ""), arg("type", "")) {
			w.arrive(e)
		}
	case "drop": // drop [from=a] [to=b] [type=Prepare]
		for _, e := range w.take(arg("from", ""), arg("to", ""), arg("type", "")) {
			w.printf("dropped %s\n", e)
		}
	case "again": // again from=a to=b type=Prepare: delivers a copy, the original goes on waiting
		kept := slices.Clone(w.mail)
		for _, e := range w.take(arg("from", ""), arg("to", ""), arg("type", "")) {
			w.arrive(e)
		}
		w.mail = append(kept, w.mail...)
	case "settle": // settle: syncs and deliveries until nothing is left to do
		w.doSettle()
	case "cut": // cut a b: nothing passes from a to b
		w.cut[names[0]+names[1]] = true
	case "heal":
		clear(w.cut)
	case "advance": // advance d=300ms: beacons and ticks every 50 ms
		span, err := time.ParseDuration(arg("d", ""))
		if err != nil {
			d.Fatalf(w.t, "%v", err)
		}
		w.wait(span)
	case "pause":
		w.node(names[0]).paused = true
	case "resume":
		w.node(names[0]).paused = false
	case "restart": // restart a: only what is durable survives
		n := w.node(names[0])
		n.paused = false
		n.start()
		w.doState(d)
	case "meta": // meta: looks at the asks in order
		for _, q := range w.asks {
			verdict := "refused"
			if q.ask.Config.Ballot == w.reg.Ballot+1 {
				w.reg, verdict = q.ask.Config, "accepted"
			}
			w.printf("%s asked %s: %s\n", q.from, q.ask.Config.text(), verdict)
		}
		w.asks = nil
	case "forget-asks": // they never arrived
		w.asks = nil
	case "refuse-asks": // meta answers with an error
		for _, q := range w.asks {
			w.node(q.from).step(&Event{Kind: EventAskRefused})
		}
		w.asks = nil
	case "tell": // tell [a ...]: of the register
		for _, name := range all {
			n := w.node(name)
			n.ballot = max(n.ballot, w.reg.Ballot)
			n.step(&Event{Kind: EventConfigure, Config: w.reg})
		}
	case "read": // read [a ...]: may a read be answered now?
		for _, name := range all {
			fmt.Fprintf(&w.out, "%s: %v\n", name, w.node(name).replica.MayRead(w.now))
		}
	case "state":
		w.doState(d)
	case "learner": // learner a d: meta proposes to a that d learn
		w.node(names[1])
		w.node(names[0]).step(&Event{Kind: EventAddLearner, Node: nodeID(names[1])})
	case "remove":
		w.node(names[0]).step(&Event{Kind: EventRemove, Node: nodeID(names[1])})
	case "hand-over":
		w.node(names[0]).step(&Event{Kind: EventHandOver, Node: nodeID(names[1])})
	case "log-fails":
		n := w.node(names[0])
		n.pending = nil
		n.step(&Event{Kind: EventLogFailed})
	case "flush": // flush a [gc]: the store is durable; gc: the log forgets what the store has
		n := w.node(names[0])
		n.flushed = len(n.applied)
		n.step(&Event{Kind: EventFlushed, Decree: proto.Decree(n.flushed)})
		if d.HasArg("gc") {
			n.log = slices.DeleteFunc(n.log, func(m Mutation) bool { return int(m.Decree) <= n.flushed })
		}
	case "read-log": // read-log a: answers what a asked its driver
		w.doReadLog(w.node(names[0]))
	case "ship": // ship a [failed]: the checkpoint a asked for is ready
		n := w.node(names[0])
		for _, l := range n.ships {
			n.step(&Event{Kind: EventCheckpointSent, Node: l, Decree: proto.Decree(len(n.applied)), Failed: d.HasArg("failed")})
		}
		n.ships = nil
	case "install": // install d [failed]
		n := w.node(names[0])
		for _, i := range n.installs {
			if !d.HasArg("failed") {
				n.applied = slices.Clone(w.node(nodeName(i.From)).applied[:i.Decree])
				n.flushed, n.log, n.pending = int(i.Decree), nil, nil
			}
			n.step(&Event{Kind: EventCheckpointInstalled, Decree: i.Decree, Failed: d.HasArg("failed")})
		}
		n.installs = nil
	case "inject": // inject a b type=Prepare ballot=1 decree=1 committed=0 batch=x: a message out of nowhere
		m := proto.ReplMessage{
			GPID: scenarioGPID, Ballot: proto.Ballot(decree(arg("ballot", "0"))), Decree: decree(arg("decree", "0")),
			Committed: decree(arg("committed", "0")), Batch: []byte(arg("batch", "")), Timestamp: int64(decree(arg("decree", "0"))),
			Term: uint64(decree(arg("term", "0"))), Learner: d.HasArg("learner"),
		}
		for m.Type = proto.ReplPrepare; m.Type.String() != arg("type", ""); m.Type++ {
		}
		w.arrive(envelope{names[0], names[1], m})
	default:
		d.Fatalf(w.t, "unknown command %q", d.Cmd)
	}
}

// take removes the matching messages from the mail.
func (w *world) take(from, to, typ string) []envelope {
	var taken, rest []envelope
	for _, e := range w.mail {
		if (from == "" || from == e.from) && (to == "" || to == e.to) && (typ == "" || typ == e.m.Type.String()) {
			taken = append(taken, e)
		} else {
			rest = append(rest, e)
		}
	}
	w.mail = rest
	return taken
}

func (w *world) doGroup(d *datadriven.TestData) {
	primary, ballot, want, minimum := "a", 1, 3, 1
	d.MaybeScanArgs(w.t, "primary", &primary)
	d.MaybeScanArgs(w.t, "ballot", &ballot)
	d.MaybeScanArgs(w.t, "want", &want)
	d.MaybeScanArgs(w.t, "min", &minimum)
	w.want, w.min = want, minimum
	w.reg = Config{Ballot: proto.Ballot(ballot), Primary: nodeID(primary)}
	w.node(primary)
	if arg, ok := d.Arg("secondaries"); ok {
		for _, s := range arg.Vals {
			w.node(s)
			w.reg.Secondaries = append(w.reg.Secondaries, nodeID(s))
		}
	}
	for _, name := range w.names {
		n := w.nodes[name]
		n.ballot = w.reg.Ballot
		n.step(&Event{Kind: EventConfigure, Config: w.reg})
	}
	w.quiet = true
	w.wait(300 * time.Millisecond)
	w.doSettle()
}

func (w *world) doSettle() {
	for range 200 {
		for _, name := range w.names {
			if !w.nodes[name].paused {
				w.nodes[name].sync()
			}
		}
		mail := w.take("", "", "")
		if len(mail) == 0 {
			return
		}
		for _, e := range mail {
			w.arrive(e)
		}
	}
	w.t.Fatalf("never settles, %d messages: %s", len(w.mail), w.mail[0])
}

func (w *world) doReadLog(n *member) {
	for _, q := range n.reads {
		ev := Event{Kind: EventLogRead, Node: q.Learner}
		size := 0
		for _, m := range n.log {
			if m.Decree == q.From+proto.Decree(len(ev.Mutations)) && m.Decree <= q.To && (size == 0 || size+len(m.Batch) <= q.Bytes) {
				ev.Mutations = append(ev.Mutations, m)
				size += len(m.Batch)
			}
		}
		ev.Failed = len(ev.Mutations) == 0
		n.reads = nil
		n.step(&ev)
		return
	}
	w.printf("%s: nothing to read\n", strings.ToUpper(n.name))
}
