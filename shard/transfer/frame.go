package transfer

import (
	"encoding/binary"
	"fmt"
)

// A frame is a header of 48 bytes, little endian, and a body. The header has a checksum of its own: with it, damage to a
// body cannot move the beginning of the next frame, and the fields that name a block are as safe as the block.
//
//	 0  4  magic "PGCT"
//	 4  1  version
//	 5  1  kind
//	 6  2  code, of kindError
//	 8  4  body length
//	12  4  crc32c of the body
//	16  8  transfer id
//	24  4  index of the file in the manifest
//	28  4  reserved, 0
//	32  8  offset in the file, a multiple of BlockSize
//	40  4  reserved, 0
//	44  4  crc32c of bytes 0 to 43
//
// A conversation is kindOpen and kindManifest, then kindGet and kindBlock in the same order, many at a time, then
// kindDone. kindAlive may come from either end at any time, kindError from the server instead of any answer, as its last
// frame.
const (
	headerLen    = 48
	frameVersion = 1
	frameMagic   = "PGCT"
)

// kind numbers are fixed for ever.
type kind uint8

const (
	kindOpen     kind = 1 // learner: body is its node id
	kindManifest kind = 2 // server: body is the manifest
	kindGet      kind = 3 // learner: file and offset
	kindBlock    kind = 4 // server: file, offset, body is the block
	kindDone     kind = 5 // learner: everything is durable here
	kindAlive    kind = 6
	kindError    kind = 7 // server: code, body is a text for people
)

// code says what kindError means. Numbers are fixed for ever.
type code uint16

const (
	codeBusy     code = 1
	codeUnknown  code = 2
	codeVersion  code = 3
	codeSource   code = 4
	codeProtocol code = 5
)

var codeErrors = map[code]error{
	codeBusy: ErrBusy, codeUnknown: ErrUnknown, codeVersion: ErrVersion, codeSource: ErrSource, codeProtocol: errProtocol,
}

type header struct {
	kind   kind
	code   code
	length int
	sum    uint32
	id     uint64
	file   uint32
	offset int64
}

// put writes the header into the first headerLen bytes of b.
func (h *header) put(b []byte) {
	clear(b[:headerLen])
	copy(b, frameMagic)
	b[4], b[5] = frameVersion, byte(h.kind)
	binary.LittleEndian.PutUint16(b[6:], uint16(h.code))
	binary.LittleEndian.PutUint32(b[8:], uint32(h.length))
	binary.LittleEndian.PutUint32(b[12:], h.sum)
	binary.LittleEndian.PutUint64(b[16:], h.id)
	binary.LittleEndian.PutUint32(b[24:], h.file)
	binary.LittleEndian.PutUint64(b[32:], uint64(h.offset))
	binary.LittleEndian.PutUint32(b[44:], sumOf(b[:44]))
}

// parse reads a header from the first headerLen bytes of b. Magic, version, and length and checksum of a header are the same
// in all versions, so that damage never looks like another version.
func (h *header) parse(b []byte) error {
	if string(b[:4]) != frameMagic || sumOf(b[:44]) != binary.LittleEndian.Uint32(b[44:]) {
		return fmt.Errorf("%w: header %x", errDamaged, b[:headerLen])
	}
	if b[4] != frameVersion {
		return fmt.Errorf("%w: version %d", ErrVersion, b[4])
	}
	*h = header{
		kind:   kind(b[5]),
		code:   code(binary.LittleEndian.Uint16(b[6:])),
		length: int(binary.LittleEndian.Uint32(b[8:])),
		sum:    binary.LittleEndian.Uint32(b[12:]),
		id:     binary.LittleEndian.Uint64(b[16:]),
		file:   binary.LittleEndian.Uint32(b[24:]),
		offset: int64(binary.LittleEndian.Uint64(b[32:])),
	}
	return nil
}
