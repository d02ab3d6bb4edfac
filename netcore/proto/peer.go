package proto

import (
	"encoding/binary"
	"hash/crc32"
)

// Peer frames carry everything between our own processes: a fixed header of 32 bytes, little endian, and a body that the
// kind describes. There is no name and no thrift envelope, since both ends are ours and the frame is on the path of
// every write; there is a checksum, since the body may go to disk as it came.
//
//	 0  4  magic "PGSR"
//	 4  1  version
//	 5  1  kind
//	 6  2  flags, defined per kind
//	 8  4  body length
//	12  4  crc32c of the body
//	16  8  seq
//	24  8  reserved, 0

// PeerHeaderLen is the size of a peer frame's header in bytes.
const PeerHeaderLen = 32

// PeerVersion is the version of the peer frame that this build writes.
const PeerVersion = 1

const (
	peerVersionAt = 4
	peerKindAt    = 5
	peerFlagsAt   = 6
	peerLenAt     = 8
	peerCRCAt     = 12
	peerSeqAt     = 16
)

// PeerFrame is one parsed peer frame. Body is a view into the input.
type PeerFrame struct {
	Kind  PeerKind
	Flags uint16
	Seq   uint64 // matches an answer with its question; 0 where the kind has no answer
	Body  []byte
}

// AppendPeerFrame begins a peer frame. The caller appends the body and calls FinishPeerFrame with the mark.
func AppendPeerFrame(dst []byte, kind PeerKind, flags uint16, seq uint64) (out []byte, mark int) {
	mark = len(dst)
	dst = append(dst, magicPeer...)
	dst = append(dst, PeerVersion, byte(kind))
	dst = binary.LittleEndian.AppendUint16(dst, flags)
	dst = binary.LittleEndian.AppendUint64(dst, 0) // length, crc
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	return binary.LittleEndian.AppendUint64(dst, 0), mark
}

// FinishPeerFrame completes the frame that AppendPeerFrame began at mark.
func FinishPeerFrame(dst []byte, mark int) []byte {
	body := dst[mark+PeerHeaderLen:]
	binary.LittleEndian.PutUint32(dst[mark+peerLenAt:], uint32(len(body)))
	binary.LittleEndian.PutUint32(dst[mark+peerCRCAt:], crc32.Checksum(body, castagnoli))
	return dst
}

// ParsePeer parses one peer frame from the beginning of in, with the results of the frame parsers. maxFrame bounds the
// body in bytes. It does not allocate. The reserved bytes are not looked at: a later version may use them.
func ParsePeer(in []byte, maxFrame int, f *PeerFrame) (n, need int, err error) {
	if !hasMagic(in, magicPeer) {
		return 0, 0, ErrBadMagic
	}
	if len(in) > peerVersionAt && in[peerVersionAt] != PeerVersion {
		return 0, 0, ErrBadVersion
	}
	if len(in) < PeerHeaderLen {
		return 0, PeerHeaderLen, nil
	}
	body := int64(binary.LittleEndian.Uint32(in[peerLenAt:]))
	if body > int64(maxFrame) {
		return 0, 0, ErrFrameTooLarge
	}
	n = PeerHeaderLen + int(body)
	if len(in) < n {
		return 0, n, nil
	}
	b := in[PeerHeaderLen:n:n]
	if crc32.Checksum(b, castagnoli) != binary.LittleEndian.Uint32(in[peerCRCAt:]) {
		return 0, 0, ErrBadBodyCRC
	}
	*f = PeerFrame{
		Kind:  PeerKind(in[peerKindAt]),
		Flags: binary.LittleEndian.Uint16(in[peerFlagsAt:]),
		Seq:   binary.LittleEndian.Uint64(in[peerSeqAt:]),
		Body:  b,
	}
	return n, 0, nil
}
