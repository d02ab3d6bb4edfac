package proto

import (
	"encoding/binary"
	"hash/crc32"
)

// The native header (spec wire 6): the C struct of Apache Pegasus, 192 bytes, little endian. Offsets of the fields used.
const (
	rdsnVersion    = 4
	rdsnHeaderLen  = 8
	rdsnHeaderCRC  = 12
	rdsnBodyLen    = 16
	rdsnBodyCRC    = 20
	rdsnID         = 24
	rdsnName       = 40 // 48 bytes, padded with NUL
	rdsnCode       = 88 // number and hash; a hash of 0 says that the name counts
	rdsnApp        = 96
	rdsnPart       = 100
	rdsnContext    = 104
	rdsnFrom       = 112
	rdsnTimeout    = 120
	rdsnHash       = 128
	rdsnErrName    = 136 // 48 bytes, padded with NUL
	rdsnErrCode    = 184
	rdsnNameFieldN = 48
)

// Bits of the context word.
const (
	ctxRequest          = 1 << 0
	ctxForwarded        = 1 << 1
	ctxFormatShift      = 6
	ctxFormatMask       = 0xf
	ctxForwardSupported = 1 << 10
	ctxBackup           = 1 << 11

	formatThriftBinary = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ParseRDSN parses one native frame from the beginning of in, with the results of the frame parsers. maxFrame bounds the
// body in bytes. It does not allocate.
//
// Checksums count when they are not 0. Header version, header length and the numeric task code are not believed: the
// header always has 192 bytes and the name decides. A frame that is no request is returned with Ignore set; one whose
// argument is in another serialisation than thrift binary, which makes Apache Pegasus abort or speak JSON, with Reject
// set to ErrInvalidParameters.
func ParseRDSN(in []byte, maxFrame int, req *Request) (n, need int, err error) {
	if !hasMagic(in, magicRDSN) {
		return 0, 0, ErrBadMagic
	}
	if len(in) < rdsnBodyLen+4 {
		return 0, NativeHeaderLen, nil
	}
	body := int64(binary.LittleEndian.Uint32(in[rdsnBodyLen:]))
	if body > int64(maxFrame) {
		return 0, 0, ErrFrameTooLarge
	}
	n = NativeHeaderLen + int(body)
	if len(in) >= NativeHeaderLen {
		if crc := binary.LittleEndian.Uint32(in[rdsnHeaderCRC:]); crc != 0 && crc != nativeHeaderCRC(in) {
			return 0, 0, ErrBadHeaderCRC
		}
	}
	if len(in) < n {
		return 0, n, nil
	}
	h := in[:NativeHeaderLen:NativeHeaderLen]
	args := in[NativeHeaderLen:n:n]
	if crc := binary.LittleEndian.Uint32(h[rdsnBodyCRC:]); crc != 0 && crc != crc32.Checksum(args, castagnoli) {
		return 0, 0, ErrBadBodyCRC
	}
	ctx := binary.LittleEndian.Uint64(h[rdsnContext:])
	*req = Request{
		Framing:   FramingRDSN,
		Backup:    ctx&ctxBackup != 0,
		TimeoutMS: int32(binary.LittleEndian.Uint32(h[rdsnTimeout:])),
		GPID: GPID{
			App:  int32(binary.LittleEndian.Uint32(h[rdsnApp:])),
			Part: int32(binary.LittleEndian.Uint32(h[rdsnPart:])),
		},
		Hash:   binary.LittleEndian.Uint64(h[rdsnHash:]),
		Seq:    binary.LittleEndian.Uint64(h[rdsnID:]),
		Header: h,
		Args:   args,
		Ignore: ctx&ctxRequest == 0,
	}
	req.setName(cutName(h[rdsnName : rdsnName+rdsnNameFieldN]))
	if req.Code != CodeUnknown && ctx>>ctxFormatShift&ctxFormatMask != formatThriftBinary {
		req.Reject = ErrInvalidParameters // an unknown name is refused before its argument is looked at
	}
	return n, 0, nil
}

// nativeHeaderCRC is the checksum of a native header, computed as if its own field were 0.
func nativeHeaderCRC(h []byte) uint32 {
	var zero [4]byte
	crc := crc32.Update(0, castagnoli, h[:rdsnHeaderCRC])
	crc = crc32.Update(crc, castagnoli, zero[:])
	return crc32.Update(crc, castagnoli, h[rdsnHeaderCRC+4:NativeHeaderLen])
}

// Origin returns what a native request says of its sender: the address (a pure client uses a small fake port), and
// whether it wants to be redirected with ErrForwardToOthers at the RPC level when this meta server does not lead
// (spec wire 6). Requests of other dialects give 0 and false.
func (req *Request) Origin() (from RPCAddress, forwardSupported bool) {
	if req.Framing != FramingRDSN {
		return 0, false
	}
	ctx := binary.LittleEndian.Uint64(req.Header[rdsnContext:])
	return RPCAddress(binary.LittleEndian.Uint64(req.Header[rdsnFrom:])),
		ctx&ctxForwardSupported != 0 && ctx&ctxForwarded == 0
}
