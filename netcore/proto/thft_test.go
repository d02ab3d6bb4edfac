package proto

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

func TestSniff(t *testing.T) {
	for in, want := range map[string]Dialect{
		"": DialectNeedMore, "T": DialectNeedMore, "THF": DialectNeedMore, "RD": DialectNeedMore, "P": DialectNeedMore,
		"PU": DialectNeedMore, "PG": DialectNeedMore, "GET": DialectNeedMore, "DEL": DialectNeedMore,
		"THFT": DialectTHFT, "THFTxyz": DialectTHFT, "RDSN": DialectRDSN, "PGSR": DialectPeer,
		"GET /": DialectHTTP, "POST": DialectHTTP, "PUT ": DialectHTTP, "HEAD": DialectHTTP, "DELETE": DialectHTTP, "OPTIONS": DialectHTTP,
		"X": DialectUnknown, "TX": DialectUnknown, "THFX": DialectUnknown, "PX": DialectUnknown, "PUTT": DialectUnknown,
		"GET\t": DialectUnknown, "\x16\x03\x01": DialectUnknown, "thft": DialectUnknown,
	} {
		if got := Sniff([]byte(in)); got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
}

// getFrame is a version 0 get of key "\x00\x01hs".
func getFrame() []byte {
	out, mark := AppendRequest(nil, CodeGet, GPID{2, 3}, 77, 1000, 0x0102030405060708)
	out = AppendField(out, TStruct, 1)
	out = AppendBlob(out, "\x00\x01hs")
	return FinishRequest(append(out, TStop), mark)
}

// v1Frame wraps the message of a version 0 frame.
func v1Frame(meta, message []byte) []byte {
	out := append([]byte("THFT"), 0, 0, 0, 1)
	out = AppendI32(out, int32(len(meta)))
	out = AppendI32(out, int32(len(message)))
	return append(append(out, meta...), message...)
}

func v1Meta() []byte {
	b := AppendI32(AppendField(nil, TI32, 1), 2)
	b = AppendI32(AppendField(b, TI32, 2), 3)
	b = AppendBlob(AppendField(b, TString, 99), "from a newer client")
	b = AppendI32(AppendField(b, TI32, 3), 1000)
	b = AppendI64(AppendField(b, TI64, 4), 0x0102030405060708)
	b = AppendBool(AppendField(b, TBool, 5), true)
	return append(b, TStop)
}

func TestParseTHFT(t *testing.T) {
	v0 := getFrame()
	for name, frame := range map[string][]byte{"v0": v0, "v1": v1Frame(v1Meta(), v0[thft0HeaderLen:])} {
		var req Request
		n, need, err := ParseTHFT(append(frame, "next frame"...), 200, &req)
		if n != len(frame) || need != 0 || err != nil {
			t.Fatalf("%s: n=%d need=%d %v", name, n, need, err)
		}
		if req.Code != CodeGet || req.GPID != (GPID{2, 3}) || req.TimeoutMS != 1000 || req.Hash != 0x0102030405060708 ||
			req.Seq != 77 || string(req.Name) != "RPC_RRDB_RRDB_GET" || req.Header != nil || req.Backup != (name == "v1") {
			t.Errorf("%s: %+v", name, req)
		}
		if string(req.Args) != "\x0c\x00\x01\x00\x00\x00\x04\x00\x01hs\x00" {
			t.Errorf("%s: args %x", name, req.Args)
		}
		if cap(req.Args) != len(req.Args) {
			t.Errorf("%s: an append to Args would write into the next frame", name)
		}
	}
}

// edit returns a copy of a frame with a big-endian u32 replaced.
func edit(frame []byte, at int, v uint32) []byte {
	out := append([]byte(nil), frame...)
	binary.BigEndian.PutUint32(out[at:], v)
	return out
}

// What closes a connection, and from how many bytes on it is known.
func TestParseTHFTErrors(t *testing.T) {
	v0 := getFrame()
	msg := v0[thft0HeaderLen:]
	v1 := v1Frame(v1Meta(), msg)
	badMeta := v1Meta()
	badMeta[0] = 99
	bare, mark := AppendRequest(nil, CodeGet, GPID{}, 0, 0, 0)
	for _, c := range []struct {
		name  string
		frame []byte
		from  int // number of bytes with which the error must be known
		want  error
	}{
		{"magic", []byte("THFX"), 4, ErrBadMagic},
		{"magic, one byte", []byte("R"), 1, ErrBadMagic},
		{"version 2", edit(v0, 4, 2), 8, ErrBadVersion},
		{"version max", edit(v0, 4, 0xffffffff), 8, ErrBadVersion},
		{"header length 47", edit(v0, 8, 47), 12, ErrBadHeaderLength},
		{"header length 0", edit(v0, 8, 0), 12, ErrBadHeaderLength},
		{"body too large", edit(v0, 16, 201), 20, ErrFrameTooLarge},
		{"body huge", edit(v0, 16, 0xffffffff), 20, ErrFrameTooLarge},
		{"reply", edit(v0, 48, 0x80010002), len(v0), ErrBadMessageType},
		{"exception", edit(v0, 48, 0x80010003), len(v0), ErrBadMessageType},
		{"type 0", edit(v0, 48, 0x80010000), len(v0), ErrBadMessageType},
		{"thrift version 2", edit(v0, 48, 0x80020001), len(v0), ErrBadMessageBegin},
		{"name longer than the body", edit(v0, 52, 0x7f000001), len(v0), ErrBadMessageBegin},
		{"name length negative", edit(v0, 52, 0xffffffff), len(v0), ErrBadMessageBegin},
		{"old form, name too long", edit(v0, 48, 0x01000000), len(v0), ErrBadMessageBegin},
		{"no body", FinishRequest(append([]byte(nil), bare[:48]...), mark), 48, ErrBadMessageBegin},
		{"seqid cut", FinishRequest(append([]byte(nil), bare[:len(bare)-1]...), mark), len(bare) - 1, ErrBadMessageBegin},
		{"v1 meta too large", edit(v1, 8, 201), 16, ErrFrameTooLarge},
		{"v1 both too large", edit(edit(v1, 8, 0xffffffff), 12, 0xffffffff), 16, ErrFrameTooLarge},
		{"v1 meta cut", v1Frame(v1Meta()[:20], msg), len(v1) - 40, ErrBadMeta},
		{"v1 no meta", v1Frame(nil, msg), len(v1) - 70, ErrBadMeta},
		{"v1 meta of an unknown type", v1Frame(badMeta, msg), len(v1), ErrBadMeta},
	} {
		var req Request
		n, need, err := ParseTHFT(c.frame, 200, &req)
		if n != 0 || !errors.Is(err, c.want) {
			t.Errorf("%s: n=%d need=%d %v, want %v", c.name, n, need, err, c.want)
		}
		if len(c.frame) > c.from {
			if n, need, err := ParseTHFT(c.frame[:c.from], 200, &req); err == nil && (n != 0 || need <= c.from) {
				t.Errorf("%s: with %d bytes n=%d need=%d", c.name, c.from, n, need)
			}
		}
	}
}

// The length wanted is known as soon as the header tells it.
func TestParseTHFTNeed(t *testing.T) {
	v0 := getFrame()
	v1 := v1Frame(v1Meta(), v0[thft0HeaderLen:])
	var req Request
	for _, c := range []struct {
		frame []byte
		have  int
		need  int
	}{
		{v0, 0, 8}, {v0, 3, 8}, {v0, 8, 48}, {v0, 19, 48}, {v0, 20, len(v0)}, {v0, len(v0) - 1, len(v0)},
		{v1, 7, 8}, {v1, 8, 16}, {v1, 16, len(v1)}, {v1, len(v1) - 1, len(v1)},
	} {
		if n, need, err := ParseTHFT(c.frame[:c.have], 1000, &req); n != 0 || need != c.need || err != nil {
			t.Errorf("with %d bytes: n=%d need=%d %v, want %d", c.have, n, need, err, c.need)
		}
	}
}

// The old message begin, oneway calls and names that Apache would cut.
func TestParseTHFTMessageForms(t *testing.T) {
	frame := func(message string) []byte {
		out, mark := AppendRequest(nil, CodeGet, GPID{}, 0, 0, 0)
		return FinishRequest(append(out[:mark+thft0HeaderLen], message...), mark)
	}
	long := strings.Repeat("x", 60)
	for message, want := range map[string]Request{
		"\x80\x01\x00\x04\x00\x00\x00\x11RPC_RRDB_RRDB_GET\x00\x00\x00\x05":      {Code: CodeGet, Name: []byte("RPC_RRDB_RRDB_GET"), Seq: 5},
		"\x00\x00\x00\x11RPC_RRDB_RRDB_GET\x01\x00\x00\x00\x05":                  {Code: CodeGet, Name: []byte("RPC_RRDB_RRDB_GET"), Seq: 5},
		"\x00\x00\x00\x00\x01\xff\xff\xff\xff":                                   {Seq: 0xffffffffffffffff},
		"\x80\x01\x00\x01\x00\x00\x00\x13RPC_RRDB_RRDB_GET\x00z\x00\x00\x00\x05": {Code: CodeGet, Name: []byte("RPC_RRDB_RRDB_GET"), Seq: 5},
		"\x80\x01\x00\x01\x00\x00\x00\x3c" + long + "\x00\x00\x00\x05":           {Name: []byte(long[:47]), Seq: 5},
	} {
		var req Request
		if n, _, err := ParseTHFT(frame(message), 1000, &req); n == 0 || err != nil {
			t.Errorf("%q: n=%d %v", message, n, err)
		} else if req.Code != want.Code || string(req.Name) != string(want.Name) || req.Seq != want.Seq || len(req.Args) != 0 {
			t.Errorf("%q: %+v", message, req)
		}
	}
}

func TestParseTHFTAllocates(t *testing.T) {
	v0 := getFrame()
	v1 := v1Frame(v1Meta(), v0[thft0HeaderLen:])
	var req Request
	var rep Reply
	reply := AppendErrorReply(nil, &Request{Code: CodeGet, Seq: 1}, ErrInvalidState, 0)
	for name, f := range map[string]func() (int, int, error){
		"v0":    func() (int, int, error) { return ParseTHFT(v0, 1000, &req) },
		"v1":    func() (int, int, error) { return ParseTHFT(v1, 1000, &req) },
		"reply": func() (int, int, error) { return ParseReply(reply, 1000, &rep) },
	} {
		if n := testing.AllocsPerRun(100, func() {
			if n, _, err := f(); n == 0 || err != nil {
				t.Fatal(name, n, err)
			}
			if rep.Err != nil && rep.Code() != ErrInvalidState {
				t.Fatal(rep.Code())
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestParseReplyErrors(t *testing.T) {
	ok := AppendErrorReply(nil, &Request{Code: CodeGet, Seq: 1}, ErrOK, 0)
	for _, c := range []struct {
		name  string
		frame []byte
		want  error
	}{
		{"length 0", edit(ok, 0, 0), ErrBadHeaderLength},
		{"length 19", edit(ok, 0, 19), ErrBadHeaderLength},
		{"too large", edit(ok, 0, 201), ErrFrameTooLarge},
		{"error name too long", edit(ok, 4, 1000), ErrBadMessageBegin},
		{"error name negative", edit(ok, 4, 0x80000000), ErrBadMessageBegin},
		{"call", edit(ok, 14, 0x80010001), ErrBadMessageType},
		{"name too long", edit(ok, 18, 1000), ErrBadMessageBegin},
	} {
		var r Reply
		if n, _, err := ParseReply(c.frame, 200, &r); n != 0 || !errors.Is(err, c.want) {
			t.Errorf("%s: n=%d %v, want %v", c.name, n, err, c.want)
		}
	}
	var r Reply
	if n, _, err := ParseReply(append(ok, 1, 2), 200, &r); n != len(ok) || err != nil || r.Code() != ErrOK || r.Seq != 1 {
		t.Errorf("n=%d %v %+v", n, err, r)
	}
	r.Err = []byte("ERR_OF_TOMORROW")
	if r.Code() != ErrUnknown {
		t.Error(r.Code())
	}
}

func TestBackupRequest(t *testing.T) {
	out, mark := AppendBackupRequest([]byte("before"), CodeGet, GPID{App: 7, Part: 3}, 9, 1500, 1<<63+5)
	out = FinishBackupRequest(AppendBlobArg(out, []byte("\x00\x01k")), mark)
	frame := out[len("before"):]
	var req Request
	n, _, err := ParseTHFT(append(frame, "next"...), 1<<20, &req)
	if err != nil || n != len(frame) {
		t.Fatalf("%d of %d bytes, %v", n, len(frame), err)
	}
	if !req.Backup || req.Framing != FramingTHFT1 || req.Code != CodeGet || req.Seq != 9 || req.Hash != 1<<63+5 ||
		req.TimeoutMS != 1500 || req.GPID != (GPID{App: 7, Part: 3}) {
		t.Errorf("%+v", req)
	}
	if key, err := DecodeBlobArg(req.Args); err != nil || string(key) != "\x00\x01k" {
		t.Errorf("%q, %v", key, err)
	}
}
