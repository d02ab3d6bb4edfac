package proto

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"
)

// nativeFrame is a native get with every header field set.
func nativeFrame(body string) []byte {
	h := make([]byte, NativeHeaderLen)
	copy(h, magicRDSN)
	le := binary.LittleEndian
	le.PutUint32(h[rdsnHeaderLen:], NativeHeaderLen)
	le.PutUint32(h[rdsnBodyLen:], uint32(len(body)))
	le.PutUint64(h[rdsnID:], 1<<40+7)
	le.PutUint64(h[32:], 0x1122334455667788)
	copy(h[rdsnName:], "RPC_RRDB_RRDB_GET")
	le.PutUint32(h[rdsnCode:], 12345)
	le.PutUint32(h[rdsnCode+4:], 9)
	le.PutUint32(h[rdsnApp:], 2)
	le.PutUint32(h[rdsnPart:], 3)
	le.PutUint64(h[rdsnContext:], ctxRequest|formatThriftBinary<<ctxFormatShift|ctxForwardSupported|ctxBackup)
	le.PutUint64(h[rdsnFrom:], uint64(NewRPCAddress(netip.MustParseAddrPort("10.1.2.3:42"))))
	le.PutUint32(h[rdsnTimeout:], 5000)
	le.PutUint64(h[rdsnHash:], 99)
	return append(h, body...)
}

func TestParseRDSN(t *testing.T) {
	frame := nativeFrame("body")
	var req Request
	n, need, err := ParseRDSN(append(frame, "rest"...), 100, &req)
	if n != len(frame) || need != 0 || err != nil {
		t.Fatalf("n=%d need=%d %v", n, need, err)
	}
	if req.Framing != FramingRDSN || req.Code != CodeGet || !req.Backup || req.TimeoutMS != 5000 || req.GPID != (GPID{2, 3}) ||
		req.Hash != 99 || req.Seq != 1<<40+7 || string(req.Name) != "RPC_RRDB_RRDB_GET" || string(req.Args) != "body" ||
		len(req.Header) != NativeHeaderLen || req.Ignore || req.Reject != ErrOK {
		t.Errorf("%+v", req)
	}
	from, forward := req.Origin()
	if from.String() != "10.1.2.3:42" || !forward {
		t.Error(from, forward)
	}
	if n := testing.AllocsPerRun(100, func() { _, _, _ = ParseRDSN(frame, 100, &req) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Behaviour that was probed on Apache servers, or that replaces an abort there (spec wire 10).
func TestParseRDSNOddities(t *testing.T) {
	le := binary.LittleEndian
	crc := func(h []byte) {
		le.PutUint32(h[rdsnBodyCRC:], crc32.Checksum(h[NativeHeaderLen:], crc32.MakeTable(crc32.Castagnoli)))
		le.PutUint32(h[rdsnHeaderCRC:], nativeHeaderCRC(h))
	}
	for _, c := range []struct {
		name string
		edit func(h []byte)
		want error
		ok   func(r *Request) bool
	}{
		{"header version 5", func(h []byte) { h[rdsnVersion] = 5 }, nil, func(r *Request) bool { return r.Code == CodeGet }},
		{"header length 100", func(h []byte) { h[rdsnHeaderLen] = 100 }, nil, func(r *Request) bool { return string(r.Args) == "body" }},
		{"name without NUL", func(h []byte) { copy(h[rdsnName:], strings.Repeat("n", 48)) }, nil,
			func(r *Request) bool { return r.Code == CodeUnknown && len(r.Name) == 47 }},
		{"right checksums", crc, nil, func(r *Request) bool { return r.Code == CodeGet }},
		{"wrong header checksum", func(h []byte) { crc(h); h[rdsnTimeout]++ }, ErrBadHeaderCRC, nil},
		{"wrong body checksum", func(h []byte) { crc(h); h[NativeHeaderLen]++ }, ErrBadBodyCRC, nil},
		{"not a request", func(h []byte) { h[rdsnContext] &^= ctxRequest }, nil, func(r *Request) bool { return r.Ignore }},
		{"json", func(h []byte) { h[rdsnContext] |= 3 << ctxFormatShift }, nil,
			func(r *Request) bool { return r.Reject == ErrInvalidParameters && !r.Ignore }},
		{"already forwarded", func(h []byte) { h[rdsnContext] |= ctxForwarded }, nil,
			func(r *Request) bool { _, forward := r.Origin(); return !forward }},
		{"body too large", func(h []byte) { le.PutUint32(h[rdsnBodyLen:], 101) }, ErrFrameTooLarge, nil},
		{"magic", func(h []byte) { h[3] = 'M' }, ErrBadMagic, nil},
	} {
		frame := nativeFrame("body")
		c.edit(frame)
		var req Request
		n, _, err := ParseRDSN(frame, 100, &req)
		if !errors.Is(err, c.want) || (err == nil) != (n == len(frame)) {
			t.Errorf("%s: n=%d %v, want %v", c.name, n, err, c.want)
		} else if c.ok != nil && !c.ok(&req) {
			t.Errorf("%s: %+v", c.name, req)
		}
	}
}

func TestNativeReply(t *testing.T) {
	frame := nativeFrame("body")
	binary.LittleEndian.PutUint32(frame[rdsnHeaderLen:], 100)
	var req Request
	if _, _, err := ParseRDSN(frame, 100, &req); err != nil {
		t.Fatal(err)
	}
	server := NewRPCAddress(netip.MustParseAddrPort("127.0.0.1:34801"))
	to := req.ReplyTo()
	clear(frame) // the frame is gone when the reply is written
	out, mark := AppendReply([]byte("xx"), &to, ErrDiskIOError, server)
	out = FinishReply(append(out, "result"...), mark)[2:]
	le := binary.LittleEndian
	if len(out) != NativeHeaderLen+6 || le.Uint32(out[rdsnBodyLen:]) != 6 || le.Uint32(out[rdsnHeaderLen:]) != NativeHeaderLen {
		t.Errorf("lengths: %d, %d", len(out), le.Uint32(out[rdsnBodyLen:]))
	}
	if string(cutName(out[rdsnName:rdsnCode])) != "RPC_RRDB_RRDB_GET_ACK" || string(cutName(out[rdsnErrName:rdsnErrCode])) != "ERR_DISK_IO_ERROR" {
		t.Errorf("names %q %q", out[rdsnName:rdsnCode], out[rdsnErrName:rdsnErrCode])
	}
	if le.Uint64(out[rdsnID:]) != 1<<40+7 || le.Uint64(out[rdsnContext:])&ctxRequest != 0 ||
		RPCAddress(le.Uint64(out[rdsnFrom:])) != server || le.Uint32(out[rdsnErrCode:]) != uint32(ErrDiskIOError) {
		t.Errorf("header %x", out[:NativeHeaderLen])
	}
}
