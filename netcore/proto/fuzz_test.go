package proto

import (
	"bytes"
	"testing"

	"pegasus/netcore/proto/golden"
)

const fuzzMaxFrame = 1 << 20

// seedFrames gives the fuzzer one recorded frame per RPC and framing.
func seedFrames(f *testing.F, replies bool) {
	seen := map[string]bool{}
	recorded(f, func(s *golden.Step, frame, reply []byte) {
		key := string(s.Framing) + s.RPC
		if seen[key] || len(frame) > 4<<10 {
			return
		}
		seen[key] = true
		if !replies {
			f.Add(frame)
		} else if len(reply) > 0 && len(reply) < 4<<10 {
			f.Add(reply)
		}
	})
}

// checkParse states what every frame parser promises for any input.
func checkParse(t *testing.T, in []byte, n, need int, err error) {
	switch {
	case err != nil:
		if n != 0 {
			t.Fatalf("n=%d with %v", n, err)
		}
	case n == 0:
		if need <= len(in) || need > fuzzMaxFrame+NativeHeaderLen {
			t.Fatalf("need=%d for %d bytes", need, len(in))
		}
	case n > len(in) || n < 0:
		t.Fatalf("n=%d of %d", n, len(in))
	}
}

// checkRequest answers a parsed request in both ways.
func checkRequest(t *testing.T, req *Request) {
	out := AppendErrorReply(nil, req, ErrInvalidParameters, 1)
	to := req.ReplyTo()
	out, mark := AppendReply(out, &to, ErrOK, 1)
	out = FinishReply(out, mark)
	if req.Framing == FramingRDSN {
		if len(out) != 2*NativeHeaderLen {
			t.Fatalf("replies of %d bytes", len(out))
		}
		return
	}
	for range 2 {
		var r Reply
		n, _, err := ParseReply(out, fuzzMaxFrame, &r)
		if n == 0 || err != nil || r.Seq != int32(req.Seq) || len(r.Body) != 0 || len(r.Name) > maxCodeName {
			t.Fatalf("reply: n=%d %v %+v", n, err, r)
		}
		out = out[n:]
	}
}

func FuzzParseTHFT(f *testing.F) {
	seedFrames(f, false)
	f.Fuzz(func(t *testing.T, in []byte) {
		var req Request
		n, need, err := ParseTHFT(in, fuzzMaxFrame, &req)
		checkParse(t, in, n, need, err)
		if n > 0 {
			checkRequest(t, &req)
		}
	})
}

func FuzzParseRDSN(f *testing.F) {
	seedFrames(f, false)
	f.Fuzz(func(t *testing.T, in []byte) {
		var req Request
		n, need, err := ParseRDSN(in, fuzzMaxFrame, &req)
		checkParse(t, in, n, need, err)
		if n > 0 {
			_, _ = req.Origin()
			checkRequest(t, &req)
		}
	})
}

func FuzzParsePeer(f *testing.F) {
	frame, mark := AppendPeerFrame(nil, PeerHello, 1, 2)
	f.Add(FinishPeerFrame(append(frame, "body"...), mark))
	f.Fuzz(func(t *testing.T, in []byte) {
		var p PeerFrame
		n, need, err := ParsePeer(in, fuzzMaxFrame, &p)
		checkParse(t, in, n, need, err)
		if n > 0 {
			out, mark := AppendPeerFrame(nil, p.Kind, p.Flags, p.Seq)
			out = FinishPeerFrame(append(out, p.Body...), mark)
			if !bytes.Equal(out[:24], in[:24]) || !bytes.Equal(out[PeerHeaderLen:], in[PeerHeaderLen:n]) {
				t.Fatalf("%x became %x", in[:n], out)
			}
		}
	})
}

func FuzzParseReply(f *testing.F) {
	seedFrames(f, true)
	f.Fuzz(func(t *testing.T, in []byte) {
		var r Reply
		n, need, err := ParseReply(in, fuzzMaxFrame, &r)
		checkParse(t, in, n, need, err)
		if n > 0 && len(r.Err)+len(r.Name)+len(r.Body) >= n {
			t.Fatalf("%d bytes hold %+v", n, r)
		}
	})
}

// Every message type reads every input or refuses it; what it reads, it can write and read again.
func FuzzUnmarshal(f *testing.F) {
	recorded(f, func(_ *golden.Step, frame, _ []byte) {
		var req Request
		if _, _, err := parseAny(frame, &req); err == nil && len(req.Args) < 1<<10 {
			if _, ok := adminTypes[req.Code]; ok {
				f.Add(req.Args)
			}
		}
	})
	f.Fuzz(func(t *testing.T, in []byte) {
		allTypes(func(v any) {
			if UnmarshalArgs(in, v) != nil {
				return
			}
			once := AppendArgs(nil, v, 1)
			again := fresh(v)
			if err := UnmarshalArgs(once, again); err != nil {
				t.Fatalf("%T: own encoding %x: %v", v, once, err)
			}
			if twice := AppendArgs(nil, again, 1); !bytes.Equal(once, twice) {
				t.Fatalf("%T: %x became %x", v, once, twice)
			}
		})
	})
}

func FuzzReaderSkip(f *testing.F) {
	f.Add(TStruct, []byte{TI32, 0, 1, 0, 0, 0, 1, TMap, 0, 2, TByte, TString, 0, 0, 0, 0, TStop})
	f.Add(TList, []byte{TSet, 0, 0, 0, 1, TBool, 0, 0, 0, 1, 1})
	f.Fuzz(func(t *testing.T, typ byte, in []byte) {
		r := NewReader(in)
		r.Skip(typ)
		if r.Offset() > len(in) || r.Offset() < 0 {
			t.Fatalf("offset %d of %d", r.Offset(), len(in))
		}
	})
}
