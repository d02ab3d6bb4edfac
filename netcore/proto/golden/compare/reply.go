package compare

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"pegasus/netcore/proto/golden"
)

// maxReply bounds a reply frame; the longest recorded one is a multi_get of a few MB at most.
const maxReply = 64 << 20

const (
	nativeHeader = 192
	replyMark    = 0x80010002 // TBinaryProtocol strict, REPLY
)

// FrameLen returns the length of the reply frame at the start of b, 0 when more bytes are needed to tell. native says
// whether the connection speaks RDSN.
func FrameLen(native bool, b []byte) (int, error) {
	n := 0
	if native {
		if len(b) < nativeHeader {
			return 0, nil
		}
		if string(b[:4]) != "RDSN" {
			return 0, fmt.Errorf("reply starts with %x, want RDSN", b[:4])
		}
		body := int(binary.LittleEndian.Uint32(b[16:]))
		if n = nativeHeader + body; body > maxReply {
			return 0, fmt.Errorf("native reply of %d bytes", n)
		}
		return n, nil
	}
	if len(b) < 4 {
		return 0, nil
	}
	if n = int(binary.BigEndian.Uint32(b)); n < 4 || n > maxReply {
		return 0, fmt.Errorf("reply of %d bytes", n)
	}
	return n, nil
}

// Seqid returns the sequence id of a complete reply frame.
func Seqid(native bool, frame []byte) (int64, error) {
	if native {
		if len(frame) < nativeHeader {
			return 0, errShort
		}
		return int64(binary.LittleEndian.Uint64(frame[24:])), nil
	}
	c := cursor{b: frame}
	c.i32()
	c.blob()
	c.i32()
	c.blob()
	seq := c.i32()
	return int64(seq), c.err
}

// Reply decodes a complete reply frame to the request rpc into the form of golden.Step.Response, not yet normalised.
func Reply(native bool, rpc string, frame []byte) (map[string]any, error) {
	out := map[string]any{"outcome": string(golden.OutcomeReply)}
	var body []byte
	var err error
	if native {
		body, err = nativeReply(out, frame)
	} else {
		body, err = thriftReply(out, frame)
	}
	if err != nil || len(body) == 0 {
		return out, err
	}
	t, known := results[rpc]
	if !known {
		out["body_hex"] = golden.Pack(body)
		return out, nil
	}
	c := cursor{b: body}
	if w, id := c.u8(), c.i16(); c.err == nil && (w != wire[t.kind] || id != 0) {
		return out, fmt.Errorf("result has wire type %d and field id %d, want %d and 0", w, id, wire[t.kind])
	}
	out["body"] = c.value(t)
	if stop := c.u8(); c.err == nil && (stop != 0 || len(c.b) != 0) {
		c.fail(fmt.Errorf("result ends with %d and %d more bytes", stop, len(c.b)))
	}
	if c.err != nil {
		return out, fmt.Errorf("%s: %w", rpc, c.err)
	}
	return out, nil
}

func thriftReply(out map[string]any, frame []byte) ([]byte, error) {
	c := cursor{b: frame}
	if n := int(c.i32()); n != len(frame) {
		return nil, fmt.Errorf("frame of %d bytes says %d", len(frame), n)
	}
	out["err"] = string(c.blob())
	if mark := uint32(c.i32()); c.err == nil && mark != replyMark {
		return nil, fmt.Errorf("message begins with %08x, want %08x", mark, uint32(replyMark))
	}
	out["name"] = string(c.blob())
	out["seqid"] = number(int64(c.i32()))
	return c.b, c.err
}

// nativeReply reads the 192-byte header of a native reply (little endian, spec wire 6).
func nativeReply(out map[string]any, frame []byte) ([]byte, error) {
	if len(frame) < nativeHeader {
		return nil, errShort
	}
	u32 := func(off int) int64 { return int64(binary.LittleEndian.Uint32(frame[off:])) }
	i32 := func(off int) int64 { return int64(int32(u32(off))) }
	bits := u32(104)
	var trace [8]byte
	binary.BigEndian.PutUint64(trace[:], binary.LittleEndian.Uint64(frame[32:]))
	out["header"] = map[string]any{
		"magic":                string(frame[:4]),
		"hdr_version":          number(u32(4)),
		"hdr_length":           number(u32(8)),
		"hdr_crc32":            number(u32(12)),
		"body_length":          number(u32(16)),
		"body_crc32":           number(u32(20)),
		"trace_id":             hex.EncodeToString(trace[:]),
		"rpc_code_hash":        number(u32(92)),
		"app_id":               number(i32(96)),
		"partition_index":      number(i32(100)),
		"is_request":           number(bits & 1),
		"is_forwarded":         number(bits >> 1 & 1),
		"serialize_format":     number(bits >> 6 & 15),
		"is_forward_supported": number(bits >> 10 & 1),
		"is_backup_request":    number(bits >> 11 & 1),
		"from_address":         address(binary.LittleEndian.Uint64(frame[112:])),
		"timeout_ms":           number(i32(120)),
		"error_code_hash":      number(u32(188)),
	}
	name, ok := cString(frame[40:88])
	if !ok {
		return nil, errors.New("rpc_name without NUL")
	}
	errName, ok := cString(frame[136:184])
	if !ok {
		return nil, errors.New("error_name without NUL")
	}
	out["name"], out["err"] = name, errName
	out["seqid"] = number(int64(binary.LittleEndian.Uint64(frame[24:])))
	return frame[nativeHeader:], nil
}

func cString(b []byte) (string, bool) {
	for i, c := range b {
		if c == 0 {
			return string(b[:i]), true
		}
	}
	return "", false
}
