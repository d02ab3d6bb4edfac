package shard

import (
	"fmt"
	"net/url"
	"time"

	"pegasus/netcore/httpfront"
	"pegasus/netcore/proto"
)

// A detection of hot keys as a page, for the console: GET /hotkey tells how it stands, POST with action=start or stop begins and
// ends it. It is the detection of RPC_DETECT_HOTKEY. It changes no data and costs next to nothing, but a page of somebody else has
// no business in it all the same.

// hotkeyPatience is how long a page waits for the loop that has the replica.
const hotkeyPatience = 2 * time.Second

// hotkeyState is the answer of /hotkey.
type hotkeyState struct {
	GPID    string `json:"gpid"`
	Type    string `json:"type"`     // "read" or "write"
	State   string `json:"state"`    // "stopped", "running" or "found"
	Seconds int64  `json:"seconds"`  // how long it has been running
	Longest int64  `json:"longest"`  // seconds after which it gives up
	HashKey string `json:"hash_key"` // what was found, as a Go string literal without the quotes
}

// hotkeyQuestion goes to the loop that owns the replica; exactly one answer comes back.
type hotkeyQuestion struct {
	req    proto.DetectHotkeyRequest
	answer chan *hotkeyState // nil: the replica is not here. Has room for it.
}

func (q *hotkeyQuestion) deliver(sh *Shard) {
	p := sh.partitions[q.req.PID]
	if p == nil {
		q.drop()
		return
	}
	h, kind := &p.hotReads, "read"
	if q.req.Type == proto.HotkeyWrite {
		h, kind = &p.hotWrites, "write"
	}
	now := sh.loop.Now()
	switch q.req.Action {
	case proto.DetectStart:
		if !h.detect.running {
			h.startDetection(now)
		}
	case proto.DetectStop:
		h.stopDetection()
	}
	s := &hotkeyState{GPID: q.req.PID.String(), Type: kind, State: "stopped", Longest: int64(detectLongest / time.Second)}
	switch d := &h.detect; {
	case d.found:
		s.State, s.HashKey = "found", literal([]byte(d.hashKey))
	case d.running:
		s.State, s.Seconds = "running", (now-d.since)/int64(time.Second)
	}
	q.answer <- s
}

func (q *hotkeyQuestion) drop() { q.answer <- nil }

// hotkeyPage answers /hotkey?app_id=ID&partition=N&type=read|write[&action=start|stop]. It belongs to the lane of pages.
func (n *Node) hotkeyPage(req *httpfront.Request, args url.Values) httpfront.Response {
	q := &hotkeyQuestion{answer: make(chan *hotkeyState, 1), req: proto.DetectHotkeyRequest{Action: proto.DetectQuery}}
	for _, id := range []struct {
		name string
		to   *int32
	}{{"app_id", &q.req.PID.App}, {"partition", &q.req.PID.Part}} {
		v, refusal := appID(id.name, args.Get(id.name))
		if refusal != nil {
			return *refusal
		}
		*id.to = v
	}
	switch args.Get("type") {
	case "read":
		q.req.Type = proto.HotkeyRead
	case "write":
		q.req.Type = proto.HotkeyWrite
	default:
		return httpfront.Text(400, "type should be read or write")
	}
	switch action := args.Get("action"); {
	case req.Method != "POST" && action != "":
		return httpfront.Text(400, "an action takes a POST")
	case req.Method != "POST":
	case req.Origin != "" && n.consoleOrigin(req.Origin) == "":
		return httpfront.Text(403, "only pages of the metas may do that\n")
	case action == "start":
		q.req.Action = proto.DetectStart
	case action == "stop":
		q.req.Action = proto.DetectStop
	default:
		return httpfront.Text(400, "action should be start or stop")
	}
	n.owner(q.req.PID).deliverLater(q)
	timer := time.NewTimer(hotkeyPatience)
	defer timer.Stop()
	select {
	case s := <-q.answer:
		if s == nil {
			return httpfront.Text(404, fmt.Sprintf("no replica of %v here\n", q.req.PID))
		}
		return jsonPage(s)
	case <-timer.C:
		return httpfront.Text(503, "the loop is busy\n")
	}
}
