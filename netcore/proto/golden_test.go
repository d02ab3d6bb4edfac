package proto

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"

	"pegasus/netcore/proto/golden"
)

const testMaxFrame = 64 << 20

// recorded calls f for every binary step of the corpus.
func recorded(t testing.TB, f func(s *golden.Step, frame, reply []byte)) {
	t.Helper()
	cases, err := golden.Load()
	if err != nil {
		t.Fatal(err)
	}
	for i := range cases {
		for j := range cases[i].Steps {
			s := &cases[i].Steps[j]
			if s.Framing == golden.FramingHTTP {
				continue
			}
			frame, err := s.Frame()
			if err != nil {
				t.Fatal(err)
			}
			reply, err := golden.Expand(s.ResponseHex)
			if err != nil {
				t.Fatal(err)
			}
			f(s, frame, reply)
		}
	}
}

// parseAny parses with the parser of the frame's dialect.
func parseAny(frame []byte, req *Request) (n, need int, err error) {
	if Sniff(frame) == DialectRDSN {
		return ParseRDSN(frame, testMaxFrame, req)
	}
	return ParseTHFT(frame, testMaxFrame, req)
}

func TestGoldenRequests(t *testing.T) {
	seen := map[golden.Framing]int{}
	recorded(t, func(s *golden.Step, frame, _ []byte) {
		var req Request
		n, _, err := parseAny(frame, &req)
		if s.Outcome() == golden.OutcomeClosed {
			if err == nil {
				t.Errorf("%v: accepted", s)
			}
			return
		}
		if err != nil || n != len(frame) {
			t.Errorf("%v: n=%d of %d, %v", s, n, len(frame), err)
			return
		}
		seen[s.Framing]++
		want := map[golden.Framing]Framing{
			golden.FramingV0: FramingTHFT0, golden.FramingV1: FramingTHFT1, golden.FramingRDSN: FramingRDSN}[s.Framing]
		if req.Framing != want || int64(req.Seq) != s.Seqid || req.Reject != ErrOK || req.Ignore {
			t.Errorf("%v: parsed as %+v", s, req)
		}
		if string(req.Name) != s.RPC && len(s.RPC) <= maxCodeName {
			t.Errorf("%v: name %q", s, req.Name)
		}
		if s.Table != "" && s.Target == golden.TargetPrimary && req.GPID.App > 0 && req.Code.IsData() &&
			s.Case != "wrong_gpid" && req.GPID.Part != s.Partition {
			t.Errorf("%v: gpid %v", s, req.GPID)
		}
		if req.Framing == FramingTHFT0 {
			out, mark := AppendRequest(nil, req.Code, req.GPID, int32(req.Seq), req.TimeoutMS, req.Hash)
			out = FinishRequest(append(out, req.Args...), mark)
			// The type byte of the message (CALL or ONEWAY), checksums and thread hash are the client's own business.
			if req.Code != CodeUnknown && len(out) == len(frame) {
				copy(out[12:16], frame[12:16])
				copy(out[20:24], frame[20:24])
				copy(out[36:40], frame[36:40])
				out[thft0HeaderLen+3] = frame[thft0HeaderLen+3]
			}
			if req.Code != CodeUnknown && !bytes.Equal(out, frame) {
				t.Errorf("%v: built\n%x, recorded\n%x", s, out, frame)
			}
		}
	})
	for _, f := range []golden.Framing{golden.FramingV0, golden.FramingV1, golden.FramingRDSN} {
		if seen[f] == 0 {
			t.Errorf("no request of framing %s", f)
		}
	}
}

// Our reply to a recorded request, with the recorded body, has the recorded bytes.
func TestGoldenReplies(t *testing.T) {
	checked := 0
	recorded(t, func(s *golden.Step, frame, reply []byte) {
		if s.Outcome() != golden.OutcomeReply {
			return
		}
		var req Request
		if _, _, err := parseAny(frame, &req); err != nil {
			t.Fatalf("%v: %v", s, err)
		}
		name, _ := s.Response["err"].(string)
		code, ok := ParseErrCode(name)
		if !ok {
			t.Fatalf("%v: error %q", s, name)
		}
		var server RPCAddress
		var body []byte
		if req.Framing == FramingRDSN {
			server = RPCAddress(binary.LittleEndian.Uint64(reply[rdsnFrom:]))
			body = reply[NativeHeaderLen:]
			// Apache's number of the task code is its order of registration: ours is 0.
			clear(reply[rdsnCode : rdsnCode+4])
		} else {
			var r Reply
			n, _, err := ParseReply(reply, testMaxFrame, &r)
			if err != nil || n != len(reply) {
				t.Fatalf("%v: ParseReply: %d of %d, %v", s, n, len(reply), err)
			}
			if r.Code() != code || int64(r.Seq) != s.Seqid || string(r.Name) != s.Response["name"] {
				t.Errorf("%v: parsed as %q %q %d", s, r.Err, r.Name, r.Seq)
			}
			body = r.Body
		}
		to := req.ReplyTo()
		out, mark := AppendReply(nil, &to, code, server)
		out = FinishReply(append(out, body...), mark)
		if req.Code != CodeUnknown && !bytes.Equal(out, reply) {
			t.Errorf("%v: built\n%x, recorded\n%x", s, out, reply)
		}
		if len(body) == 0 {
			if out := AppendErrorReply([]byte("before"), &req, code, server); string(out) != "before"+string(reply) {
				t.Errorf("%v: built\n%x, recorded\n%x", s, out, reply)
			}
		}
		checked++
	})
	if checked == 0 {
		t.Error("nothing checked")
	}
}

// Every recorded admin message decodes, and encodes to the same bytes again.
func TestGoldenAdminMessages(t *testing.T) {
	seen := map[Code]bool{}
	recorded(t, func(s *golden.Step, frame, reply []byte) {
		var req Request
		if _, _, err := parseAny(frame, &req); err != nil {
			return
		}
		types, ok := adminTypes[req.Code]
		if !ok || s.Outcome() != golden.OutcomeReply || s.Response["err"] != "ERR_OK" {
			return
		}
		seen[req.Code] = true
		arg := fresh(types[0])
		if err := UnmarshalArgs(req.Args, arg); err != nil {
			t.Errorf("%v: argument: %v", s, err)
		} else if out := AppendArgs(nil, arg, int16(binary.BigEndian.Uint16(req.Args[1:]))); !bytes.Equal(out, req.Args) {
			t.Errorf("%v: argument %+v\nbuilt\n%x, recorded\n%x", s, arg, out, req.Args)
		}
		var body []byte
		if req.Framing == FramingRDSN {
			body = reply[NativeHeaderLen:]
		} else {
			var r Reply
			if _, _, err := ParseReply(reply, testMaxFrame, &r); err != nil {
				t.Fatalf("%v: %v", s, err)
			}
			body = r.Body
		}
		res := fresh(types[1])
		if err := UnmarshalArgs(body, res); err != nil {
			t.Errorf("%v: result: %v", s, err)
		} else if out := AppendResult(nil, res); !bytes.Equal(out, body) {
			t.Errorf("%v: result %+v\nbuilt\n%x, recorded\n%x", s, res, out, body)
		}
		if e := reflect.ValueOf(res).Elem(); e.Kind() == reflect.Struct {
			got := ErrOK
			if f := e.FieldByName("Err"); f.IsValid() {
				got = f.Interface().(ErrCode)
			}
			if b, ok := s.Response["body"].(map[string]any); ok && b["err"] != nil && got.String() != b["err"] {
				t.Errorf("%v: err %v, recorded %v", s, got, b["err"])
			}
		}
	})
	for _, c := range []Code{CodeCMListApps, CodeCMQueryPartitionConfigByIndex, CodeCMListNodes, CodeCLICall} {
		if !seen[c] {
			t.Errorf("no %v in the recordings", c)
		}
	}
}

// A recorded frame cut at any byte asks for more than it was given, never for more than the frame, and never panics.
func TestGoldenTruncated(t *testing.T) {
	seen := map[golden.Framing]int{}
	recorded(t, func(s *golden.Step, frame, reply []byte) {
		if s.Outcome() == golden.OutcomeClosed {
			return
		}
		seen[s.Framing]++
		parse := ParseTHFT
		if s.Framing == golden.FramingRDSN {
			parse = ParseRDSN
		}
		var req Request
		for cut := range frame {
			n, need, err := parse(frame[:cut], testMaxFrame, &req)
			if n != 0 || need <= cut || need > len(frame) || err != nil {
				t.Fatalf("%v cut at %d of %d: n=%d need=%d %v", s, cut, len(frame), n, need, err)
			}
		}
		if s.Framing == golden.FramingRDSN || s.Outcome() != golden.OutcomeReply {
			return
		}
		var r Reply
		for cut := range reply {
			n, need, err := ParseReply(reply[:cut], testMaxFrame, &r)
			if n != 0 || need <= cut || need > len(reply) || err != nil {
				t.Fatalf("%v reply cut at %d of %d: n=%d need=%d %v", s, cut, len(reply), n, need, err)
			}
		}
	})
	if len(seen) != 3 {
		t.Errorf("framings seen: %v", seen)
	}
}
