package compat

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pegasus/netcore/proto/golden"
	"pegasus/netcore/proto/golden/compare"
)

// patience is how long a step without wait_ms waits for its reply.
const patience = 5 * time.Second

// replay runs the steps of one case. It is used by one goroutine.
type replay struct {
	*world
	links    map[string]*link
	contexts map[int]int64 // scan context ids by step
}

func newReplay(w *world) *replay {
	return &replay{world: w, links: map[string]*link{}, contexts: map[int]int64{}}
}

func (r *replay) close() {
	for _, l := range r.links {
		l.close()
	}
}

// ContextID is the scan context id that a step returned.
func (r *replay) ContextID(step int) int64 { return r.contexts[step] }

// run sends a group of steps (mostly one) and returns, per step, the differences between what came and what was
// recorded. An error is a step that could not be sent, or a reply that could not be read.
func (r *replay) run(group []*golden.Step) ([][]string, error) {
	if ms := group[0].SleepMS; ms > 0 {
		time.Sleep(time.Duration(ms) * time.Millisecond) // part of the recording: records expire, checks go round
	}
	got, err := r.once(group)
	if until := group[0].RetryUntil; until != nil {
		end := time.Now().Add(time.Duration(until.MaxMS) * time.Millisecond)
		for err == nil && !compare.Same(at(got[0], until.Path), until.Value) && time.Now().Before(end) {
			time.Sleep(golden.RetryInterval) // part of the recording
			got, err = r.once(group)
		}
	}
	if err != nil {
		return nil, err
	}
	diffs := make([][]string, len(group))
	for i, s := range group {
		diffs[i] = compare.Diff(s, got[i])
	}
	return diffs, nil
}

// once sends a group and returns the normalised responses.
func (r *replay) once(group []*golden.Step) ([]map[string]any, error) {
	if group[0].Framing == golden.FramingHTTP {
		resp, err := r.http(group[0])
		return []map[string]any{resp}, err
	}
	now := time.Now()
	links := make([]*link, len(group))
	got := make([]map[string]any, len(group))
	for i, s := range group {
		address, err := r.resolve(s)
		if err != nil {
			return nil, err
		}
		frame, err := s.Frame()
		if err != nil {
			return nil, err
		}
		if err := golden.Apply(frame, s.Patches, now, r); err != nil {
			return nil, err
		}
		if links[i], err = r.link(s, address); err != nil {
			return nil, err
		}
		if err := links[i].send(frame, s.Chunk); err != nil {
			links[i].closed = true // the outcome says so
		}
	}
	for i, s := range group {
		resp, err := r.collect(s, links[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s, err)
		}
		r.observe(s, resp)
		if id, ok := at(resp, "body.context_id").(json.Number); ok {
			if n, err := id.Int64(); err == nil {
				r.contexts[s.Step] = n
			}
		}
		compare.Normalise(resp, now, r)
		got[i] = resp
	}
	return got, nil
}

func (r *replay) collect(s *golden.Step, l *link) (map[string]any, error) {
	wait := patience
	if s.WaitMS > 0 {
		wait = time.Duration(s.WaitMS) * time.Millisecond
	}
	frame, outcome := l.await(s.Seqid, wait)
	if outcome != golden.OutcomeReply {
		return map[string]any{"outcome": string(outcome)}, nil
	}
	return decode(s.Framing == golden.FramingRDSN, s.RPC, frame)
}

func decode(native bool, rpc string, frame []byte) (map[string]any, error) {
	resp, err := compare.Reply(native, rpc, frame)
	if err != nil {
		return nil, fmt.Errorf("reply cannot be decoded: %w: %s", err, golden.Pack(frame))
	}
	return resp, nil
}

// link returns the connection of a step: one per label and address, opened on first use.
func (r *replay) link(s *golden.Step, address string) (*link, error) {
	native := s.Framing == golden.FramingRDSN
	key := fmt.Sprintf("%s/%s/%v", s.Conn, address, native)
	if l := r.links[key]; l != nil && !l.closed {
		return l, nil
	}
	l, err := dialLink(address, native)
	if err != nil {
		return nil, err
	}
	r.links[key] = l
	return l, nil
}

var appInPath = regexp.MustCompile(`\{app:([^}]+)\}`)

// http sends a step on a connection of its own.
func (r *replay) http(s *golden.Step) (map[string]any, error) {
	address, err := r.resolve(s)
	if err != nil {
		return nil, err
	}
	path := appInPath.ReplaceAllStringFunc(s.HTTP.Path, func(m string) string {
		id, idErr := r.AppID(appInPath.FindStringSubmatch(m)[1])
		err = errors.Join(err, idErr)
		return strconv.Itoa(int(id))
	})
	if err != nil {
		return nil, err
	}
	nc, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	defer func() { _ = nc.Close() }()
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	req, err := http.NewRequest(s.HTTP.Method, "http://"+address+path, strings.NewReader(s.HTTP.Body))
	if err != nil {
		return nil, err
	}
	outcome := func(err error) map[string]any {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return map[string]any{"outcome": string(golden.OutcomeNoReply)}
		}
		return map[string]any{"outcome": string(golden.OutcomeClosed)}
	}
	if err := req.Write(nc); err != nil {
		return outcome(err), nil
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), req)
	if err != nil {
		return outcome(err), nil
	}
	return compare.HTTP(resp, r)
}

// at is compare.At without the flag: nil when there is nothing.
func at(resp map[string]any, path string) any {
	v, _ := compare.At(resp, path)
	return v
}
