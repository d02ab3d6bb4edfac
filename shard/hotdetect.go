package shard

import (
	"fmt"
	"strings"
	"time"

	"pegasus/netcore/proto"
)

// Hot-key detection on request (RPC_DETECT_HOTKEY, spec admin 14). The samples that find hot keys all the time (hotkeys.go) also go
// into a sketch of the detection while one runs, so it costs nothing else; the tick looks whether one key stands out. Apache
// Pegasus narrows down in two phases, which its state names show; here the first one finds the key.

const (
	// detectLongest ends a detection that finds nothing.
	detectLongest = 150 * time.Second
	// detectShare is the part of the samples, in per cent, that make a key hot. A sketch overestimates by 100/hotSlots at most.
	detectShare = 20
	// detectLeast is how many samples it takes at least to say so.
	detectLeast = 32
)

// detection is the state of one detection; the zero value has never been started.
type detection struct {
	running bool
	since   int64 // loop time
	found   bool
	hashKey string
}

func (d *detection) state() string {
	switch {
	case d.found:
		return "hotkey_collector_state::FINISHED"
	case d.running:
		return "hotkey_collector_state::COARSE_DETECTING"
	}
	return "hotkey_collector_state::STOPPED"
}

// look ends a detection that has found its key or runs for too long.
func (h *hotCounter) look(now int64) {
	if !h.detect.running {
		return
	}
	if top, share, ok := h.detecting.top(); ok && h.detecting.samples >= detectLeast && share >= detectShare {
		h.detect.running, h.detect.found, h.detect.hashKey = false, true, top
		h.detecting = nil
	} else if now-h.detect.since > int64(detectLongest) {
		h.stopDetection()
	}
}

func (h *hotCounter) startDetection(now int64) {
	h.detect = detection{running: true, since: now}
	h.detecting = new(hotSketch)
}

func (h *hotCounter) stopDetection() { h.detect, h.detecting = detection{}, nil }

// top is the hottest key and its share of the samples in per cent.
func (s *hotSketch) top() (hashKey string, share uint32, ok bool) {
	best := -1
	for i := range s.slots {
		if s.slots[i].count > 0 && (best < 0 || s.slots[i].count > s.slots[best].count) {
			best = i
		}
	}
	if best < 0 {
		return "", 0, false
	}
	slot := &s.slots[best]
	return string(slot.key[:slot.size]), uint32(uint64(slot.count) * 100 / uint64(s.samples)), true
}

func (sh *Shard) detectHotkey(c *call, args []byte) error {
	var req proto.DetectHotkeyRequest
	if err := proto.UnmarshalArgs(args, &req); err != nil {
		return err
	}
	sh.node.owner(req.PID).deliverLater(&onReplica{gpid: req.PID, call: *c, fn: func(sh *Shard, p *partition, c *call) {
		answer := proto.DetectHotkeyResponse{Err: proto.ErrObjectNotFound}
		if p != nil {
			answer = p.detectHotkey(&req)
		} else {
			hint := fmt.Sprintf("not found the replica %v", req.PID)
			answer.ErrHint = &hint
		}
		sh.answer(c, &answer)
	}})
	return nil
}

func (p *partition) detectHotkey(req *proto.DetectHotkeyRequest) (answer proto.DetectHotkeyResponse) {
	say := func(code proto.ErrCode, format string, args ...any) proto.DetectHotkeyResponse {
		hint := fmt.Sprintf(format, args...)
		return proto.DetectHotkeyResponse{Err: code, ErrHint: &hint}
	}
	h := &p.hotReads
	switch req.Type {
	case proto.HotkeyRead:
	case proto.HotkeyWrite:
		h = &p.hotWrites
	default:
		return say(proto.ErrInvalidParameters, "invalid hotkey_type")
	}
	kind := "replication::hotkey_type::" + req.Type.String()
	switch d := &h.detect; req.Action {
	case proto.DetectStart:
		switch {
		case d.found:
			return say(proto.ErrBusy, "%s hotkey result has been found: %s, you can send a stop rpc to restart hotkey detection", kind, escaped(d.hashKey))
		case d.running:
			return say(proto.ErrBusy, "still detecting %s hotkey, state is %s", kind, d.state())
		}
		h.startDetection(p.shard.loop.Now())
		return say(proto.ErrOK, "starting to detect %s hotkey", kind)
	case proto.DetectStop:
		h.stopDetection()
		return proto.DetectHotkeyResponse{}
	case proto.DetectQuery:
		if d.found {
			result := escaped(d.hashKey)
			return proto.DetectHotkeyResponse{HotkeyResult: &result}
		}
		return say(proto.ErrBusy, "Can't get hotkey now, now state: %s", d.state())
	default:
		return say(proto.ErrInvalidParameters, "invalid detect_action")
	}
}

// escaped is the key as Apache Pegasus shows it: what is not printable as \xHH.
func escaped(key string) string {
	var b strings.Builder
	for i := range len(key) {
		switch c := key[i]; {
		case c == '\\' || c == '"' || c == '\'':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < 0x20 || c >= 0x7f:
			fmt.Fprintf(&b, `\x%02X`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
