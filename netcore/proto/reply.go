package proto

import (
	"bytes"
	"encoding/binary"
)

// Replies. AppendReply writes everything before the result, the caller appends the result, FinishReply patches the
// length: a reply is built once, in place, in the buffer that goes to the socket.

const (
	ackSuffix       = "_ACK"
	invalidTaskName = "TASK_CODE_INVALID"
)

// okPrefixes holds, per registered code, a THFT reply up to its seqid with the length still 0: the header of a
// successful reply is one copy and one integer.
var okPrefixes = func() [codeCount][]byte {
	var p [codeCount][]byte
	for c := range p {
		p[c] = appendTHFTPrefix(nil, ErrOK, Code(c), nil)
	}
	return p
}()

// appendTHFTPrefix appends a reply up to its seqid with the length still 0.
func appendTHFTPrefix(dst []byte, err ErrCode, code Code, name []byte) []byte {
	dst = AppendI32(dst, 0)
	dst = AppendBlob(dst, err.String())
	dst = binary.BigEndian.AppendUint32(dst, thriftVersion1|msgReply)
	at := len(dst)
	dst = AppendI32(dst, 0)
	dst = appendReplyName(dst, code, name)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// appendReplyName appends the name under which a request is answered, at most 47 bytes. For names without a handler it
// follows what Apache Pegasus was recorded to do (spec wire 2): its task codes come in pairs, so that a reply's name is
// answered under the request's name and a local task under the name of the invalid one.
func appendReplyName(dst []byte, code Code, name []byte) []byte {
	if code != CodeUnknown {
		return append(append(dst, code.String()...), ackSuffix...)
	}
	if cut, ok := bytes.CutSuffix(name, []byte(ackSuffix)); ok && ParseCode(cut) != CodeUnknown {
		return append(dst, cut...)
	}
	if _, ok := localTaskNames[string(name)]; ok && string(name) != invalidTaskName {
		return append(dst, invalidTaskName...)
	}
	name = name[:min(len(name), maxCodeName)]
	dst = append(dst, name...)
	return append(dst, ackSuffix[:min(len(ackSuffix), maxCodeName-len(name))]...)
}

// appendNativeReply appends the header of a native reply: the request's, turned round.
func appendNativeReply(dst, request []byte, code Code, err ErrCode, server RPCAddress) []byte {
	at := len(dst)
	dst = append(dst, request[:NativeHeaderLen]...)
	h := dst[at:]
	binary.LittleEndian.PutUint32(h[rdsnVersion:], 0)
	binary.LittleEndian.PutUint32(h[rdsnHeaderLen:], NativeHeaderLen)
	binary.LittleEndian.PutUint32(h[rdsnHeaderCRC:], 0)
	binary.LittleEndian.PutUint32(h[rdsnBodyLen:], 0)
	binary.LittleEndian.PutUint32(h[rdsnBodyCRC:], 0)
	name := cutName(request[rdsnName : rdsnName+rdsnNameFieldN])
	clear(h[rdsnName:rdsnApp]) // and the numeric code, which means nothing to another process
	appendReplyName(h[rdsnName:rdsnName], code, name)
	ctx := binary.LittleEndian.Uint64(h[rdsnContext:])
	binary.LittleEndian.PutUint64(h[rdsnContext:], ctx&^ctxRequest)
	binary.LittleEndian.PutUint64(h[rdsnFrom:], uint64(server))
	clear(h[rdsnErrName:])
	copy(h[rdsnErrName:], err.String())
	binary.LittleEndian.PutUint32(h[rdsnErrCode:], uint32(err))
	return dst
}

// AppendReply appends a reply up to its body. The caller then appends the result (field header with id 0, value, stop
// byte) when err is ErrOK, nothing otherwise, and calls FinishReply with the mark. The one body that goes with an
// error is the leader's address beside ErrForwardToOthers to a native client (spec wire 6).
//
// server is the address of this server as native clients are told; THFT does not carry it. THFT clients are sent
// err.WireSafe(). A request with an unregistered name is answered with AppendErrorReply, which knows the name.
func AppendReply(dst []byte, to *ReplyTo, err ErrCode, server RPCAddress) (out []byte, mark int) {
	mark = len(dst)
	if to.Framing == FramingRDSN {
		return appendNativeReply(dst, to.Native[:], to.Code, err, server), mark
	}
	if err == ErrOK && to.Code < codeCount {
		dst = append(dst, okPrefixes[to.Code]...)
	} else {
		dst = appendTHFTPrefix(dst, err.WireSafe(), to.Code, nil)
	}
	return AppendI32(dst, int32(uint32(to.Seq))), mark
}

// FinishReply completes the reply that AppendReply began at mark.
func FinishReply(dst []byte, mark int) []byte {
	n := len(dst) - mark
	// A THFT reply begins with its length, which is still 0, a native one with its magic.
	if dst[mark] == magicRDSN[0] {
		binary.LittleEndian.PutUint32(dst[mark+rdsnBodyLen:], uint32(n-NativeHeaderLen))
	} else {
		binary.BigEndian.PutUint32(dst[mark:], uint32(n))
	}
	return dst
}

// AppendErrorReply appends a complete reply without a body, for any request, also one whose name is not registered.
func AppendErrorReply(dst []byte, req *Request, err ErrCode, server RPCAddress) []byte {
	mark := len(dst)
	if req.Framing == FramingRDSN {
		dst = appendNativeReply(dst, req.Header, req.Code, err, server)
	} else {
		dst = appendTHFTPrefix(dst, err.WireSafe(), req.Code, req.Name)
		dst = AppendI32(dst, int32(uint32(req.Seq)))
	}
	return FinishReply(dst, mark)
}
