package proto

import "encoding/binary"

// THFT frames (spec wire 1): version 0 has a fixed header, version 1 a prefix and a thrift struct. Both carry a thrift
// message in TBinaryProtocol. All integers are big endian.

const (
	thft0HeaderLen   = 48
	thft1PrefixLen   = 16
	thftVersionLen   = 8  // magic and version, common to both
	thft0BodyLenEnd  = 20 // the body length of version 0 lies before here
	thriftVersion1   = 0x80010000
	thriftVersionMsk = 0xffff0000
)

// Thrift message types.
const (
	msgCall   = 1
	msgReply  = 2
	msgExcept = 3
	msgOneway = 4
)

// ParseTHFT parses one request frame of either version from the beginning of in. maxFrame bounds what follows the fixed
// header, in bytes. See the head of this package's frame parsers for the results. It does not allocate.
func ParseTHFT(in []byte, maxFrame int, req *Request) (n, need int, err error) {
	if !hasMagic(in, magicTHFT) {
		return 0, 0, ErrBadMagic
	}
	if len(in) < thftVersionLen {
		return 0, thftVersionLen, nil
	}
	switch binary.BigEndian.Uint32(in[4:]) {
	case 0:
		return parseTHFT0(in, maxFrame, req)
	case 1:
		return parseTHFT1(in, maxFrame, req)
	}
	return 0, 0, ErrBadVersion
}

// parseTHFT0 reads: 8 header length (48), 12 header crc, 16 body length, 20 body crc (neither crc is ever checked),
// 24 app id, 28 partition index, 32 timeout in ms, 36 thread hash (unused here), 40 partition hash.
func parseTHFT0(in []byte, maxFrame int, req *Request) (n, need int, err error) {
	if len(in) >= 12 && binary.BigEndian.Uint32(in[8:]) != thft0HeaderLen {
		return 0, 0, ErrBadHeaderLength
	}
	if len(in) < thft0BodyLenEnd {
		return 0, thft0HeaderLen, nil
	}
	body := int64(binary.BigEndian.Uint32(in[16:]))
	if body > int64(maxFrame) {
		return 0, 0, ErrFrameTooLarge
	}
	n = thft0HeaderLen + int(body)
	if len(in) < n {
		return 0, n, nil
	}
	*req = Request{
		Framing:   FramingTHFT0,
		GPID:      GPID{App: int32(binary.BigEndian.Uint32(in[24:])), Part: int32(binary.BigEndian.Uint32(in[28:]))},
		TimeoutMS: int32(binary.BigEndian.Uint32(in[32:])),
		Hash:      binary.BigEndian.Uint64(in[40:]),
	}
	if err := req.parseMessage(in[thft0HeaderLen:n:n]); err != nil {
		return 0, 0, err
	}
	return n, 0, nil
}

// parseTHFT1 reads: 8 meta length, 12 body length, 16 meta, then the body.
func parseTHFT1(in []byte, maxFrame int, req *Request) (n, need int, err error) {
	if len(in) < thft1PrefixLen {
		return 0, thft1PrefixLen, nil
	}
	meta, body := int64(binary.BigEndian.Uint32(in[8:])), int64(binary.BigEndian.Uint32(in[12:]))
	if meta+body > int64(maxFrame) {
		return 0, 0, ErrFrameTooLarge
	}
	metaEnd := thft1PrefixLen + int(meta)
	n = metaEnd + int(body)
	if len(in) < n {
		return 0, n, nil
	}
	*req = Request{Framing: FramingTHFT1}
	if err := req.parseMeta(in[thft1PrefixLen:metaEnd]); err != nil {
		return 0, 0, err
	}
	if err := req.parseMessage(in[metaEnd:n:n]); err != nil {
		return 0, 0, err
	}
	return n, 0, nil
}

// parseMeta reads thrift_request_meta_v1. Like any struct it may lack fields and hold unknown ones.
func (req *Request) parseMeta(b []byte) error {
	r := NewReader(b)
	for {
		typ, id := r.Field()
		if typ == TStop {
			break
		}
		switch {
		case id == 1 && typ == TI32:
			req.GPID.App = r.I32()
		case id == 2 && typ == TI32:
			req.GPID.Part = r.I32()
		case id == 3 && typ == TI32:
			req.TimeoutMS = r.I32()
		case id == 4 && typ == TI64:
			req.Hash = uint64(r.I64())
		case id == 5 && typ == TBool:
			req.Backup = r.Bool()
		default:
			r.Skip(typ)
		}
	}
	if r.Err() != nil {
		return ErrBadMeta
	}
	return nil
}

func (req *Request) parseMessage(body []byte) error {
	name, typ, seq, args, err := parseMessageBegin(body)
	if err != nil {
		return err
	}
	if typ != msgCall && typ != msgOneway {
		return ErrBadMessageType
	}
	req.Seq = uint64(int64(seq))
	req.Args = args
	req.setName(name)
	return nil
}

// parseMessageBegin reads the message begin of TBinaryProtocol, strict (version and type, name, seqid) or in the old
// form (name, type, seqid); rest is what follows. name and rest are views.
func parseMessageBegin(b []byte) (name []byte, typ byte, seq int32, rest []byte, err error) {
	r := NewReader(b)
	first := r.I32()
	if first < 0 {
		if uint32(first)&thriftVersionMsk != thriftVersion1 {
			return nil, 0, 0, nil, ErrBadMessageBegin
		}
		typ = byte(first)
		name = r.Blob()
	} else {
		name = r.take(int(first))
		typ = r.Byte()
	}
	seq = r.I32()
	if r.Err() != nil {
		return nil, 0, 0, nil, ErrBadMessageBegin
	}
	return name, typ, seq, r.Rest(), nil
}

// threadHash is the header field by which Apache Pegasus chooses a worker thread.
func threadHash(g GPID) int32 { return g.App*7919 + g.Part }

// AppendRequest appends a version 0 request up to and including the message begin. The caller then appends the argument
// (field header, value, stop byte) and calls FinishRequest with the mark. timeoutMS is in milliseconds; hash is the
// partition hash of the key, 0 for requests to a meta server.
func AppendRequest(dst []byte, code Code, g GPID, seq int32, timeoutMS int32, hash uint64) (out []byte, mark int) {
	mark = len(dst)
	dst = append(dst, magicTHFT...)
	dst = AppendI32(dst, 0)
	dst = AppendI32(dst, thft0HeaderLen)
	dst = append(dst, make([]byte, 12)...) // header crc, body length, body crc
	dst = AppendI32(dst, g.App)
	dst = AppendI32(dst, g.Part)
	dst = AppendI32(dst, timeoutMS)
	dst = AppendI32(dst, threadHash(g))
	dst = binary.BigEndian.AppendUint64(dst, hash)
	dst = binary.BigEndian.AppendUint32(dst, thriftVersion1|msgCall)
	dst = AppendBlob(dst, code.String())
	return AppendI32(dst, seq), mark
}

// FinishRequest completes the frame that AppendRequest began at mark.
func FinishRequest(dst []byte, mark int) []byte {
	binary.BigEndian.PutUint32(dst[mark+16:], uint32(len(dst)-mark-thft0HeaderLen))
	return dst
}

// AppendBackupRequest is AppendRequest for a read that a secondary may answer: a version 1 request, which has a flag for
// that. FinishBackupRequest completes it.
func AppendBackupRequest(dst []byte, code Code, g GPID, seq int32, timeoutMS int32, hash uint64) (out []byte, mark int) {
	mark = len(dst)
	dst = append(dst, magicTHFT...)
	dst = AppendI32(dst, 1)
	dst = AppendI32(dst, backupMetaLen)
	dst = AppendI32(dst, 0) // body length
	dst = appendI32Field(dst, 1, g.App)
	dst = appendI32Field(dst, 2, g.Part)
	dst = appendI32Field(dst, 3, timeoutMS)
	dst = appendI64Field(dst, 4, int64(hash))
	dst = append(appendBoolField(dst, 5, true), TStop)
	dst = binary.BigEndian.AppendUint32(dst, thriftVersion1|msgCall)
	dst = AppendBlob(dst, code.String())
	return AppendI32(dst, seq), mark
}

// backupMetaLen is the size of the request meta with all its fields: three i32, an i64, a bool and the stop byte.
const backupMetaLen = 3*7 + 11 + 4 + 1

// FinishBackupRequest completes the frame that AppendBackupRequest began at mark.
func FinishBackupRequest(dst []byte, mark int) []byte {
	binary.BigEndian.PutUint32(dst[mark+12:], uint32(len(dst)-mark-thft1PrefixLen-backupMetaLen))
	return dst
}

// Reply is one parsed THFT reply. The slices are views into the frame.
type Reply struct {
	Err  []byte // name of the RPC-level error, ERR_OK when Body holds a result
	Name []byte
	Seq  int32
	Body []byte // result: field header with id 0, value, stop byte
}

// Code returns the RPC-level error; a name that is not known gives ErrUnknown.
func (r *Reply) Code() ErrCode {
	if string(r.Err) == "ERR_OK" {
		return ErrOK
	}
	if e, ok := errByName[string(r.Err)]; ok {
		return e
	}
	return ErrUnknown
}

// minReplyLen is the smallest reply: length, empty error, message begin with an empty name.
const minReplyLen = 4 + 4 + 12

// ParseReply parses one THFT reply from the beginning of in, with the results of the frame parsers. maxFrame bounds the
// whole reply in bytes. It does not allocate.
func ParseReply(in []byte, maxFrame int, r *Reply) (n, need int, err error) {
	if len(in) < 4 {
		return 0, 4, nil
	}
	total := int64(binary.BigEndian.Uint32(in))
	if total > int64(maxFrame) {
		return 0, 0, ErrFrameTooLarge
	}
	if total < minReplyLen {
		return 0, 0, ErrBadHeaderLength
	}
	n = int(total)
	if len(in) < n {
		return 0, n, nil
	}
	rd := NewReader(in[4:n:n])
	*r = Reply{Err: rd.Blob()}
	if rd.Err() != nil {
		return 0, 0, ErrBadMessageBegin
	}
	var typ byte
	if r.Name, typ, r.Seq, r.Body, err = parseMessageBegin(rd.Rest()); err != nil {
		return 0, 0, err
	}
	if typ != msgReply && typ != msgExcept {
		return 0, 0, ErrBadMessageType
	}
	return n, 0, nil
}
