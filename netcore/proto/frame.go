package proto

import (
	"bytes"
	"errors"
)

// A port speaks several protocols, and the first four bytes of a connection choose one for its life. All frame parsers
// here have one shape: they look at what is buffered and return
//
//   - n > 0: one complete frame of n bytes was parsed;
//   - n == 0, err == nil: incomplete; calling again makes sense when need bytes are buffered. need grows as more of the
//     header becomes known, and is always more than what was given;
//   - err != nil: the stream cannot be followed further, and the connection must be closed.
//
// A parser judges the envelope alone. Damage in the argument is left to the decoder of the message, which can still
// answer: that is where Apache Pegasus aborts the process, and where we say ERR_INVALID_PARAMETERS.

// Dialect is the protocol that a connection speaks.
type Dialect uint8

// The outcomes of Sniff.
const (
	DialectUnknown  Dialect = iota // close the connection
	DialectNeedMore                // fewer than four bytes, all of which fit some dialect
	DialectTHFT                    // clients other than C++
	DialectRDSN                    // the C++ client, shell and proxies
	DialectHTTP                    // operators, monitoring
	DialectPeer                    // our own nodes
)

// Sniff tells the dialect of a connection by its first bytes. It wants four; with fewer it answers DialectNeedMore as
// long as some dialect is still possible. A mismatch in any byte is DialectUnknown at once.
func Sniff(first []byte) Dialect {
	for _, m := range magics {
		if len(first) >= len(m.magic) {
			if string(first[:len(m.magic)]) == m.magic {
				return m.dialect
			}
		} else if m.magic[:len(first)] == string(first) {
			return DialectNeedMore
		}
	}
	return DialectUnknown
}

const (
	magicTHFT = "THFT"
	magicRDSN = "RDSN"
	magicPeer = "PGSR"
)

var magics = [...]struct {
	magic   string
	dialect Dialect
}{
	{magicTHFT, DialectTHFT},
	{magicPeer, DialectPeer},
	{magicRDSN, DialectRDSN},
	{"GET ", DialectHTTP},
	{"POST", DialectHTTP},
	{"PUT ", DialectHTTP},
	{"HEAD", DialectHTTP},
	{"DELE", DialectHTTP},
	{"OPTI", DialectHTTP},
}

// The reasons for which a frame parser gives a connection up.
var (
	ErrBadMagic        = errors.New("proto: frame does not begin with the magic of its dialect")
	ErrBadVersion      = errors.New("proto: unknown header version")
	ErrBadHeaderLength = errors.New("proto: wrong header length")
	ErrFrameTooLarge   = errors.New("proto: frame is larger than allowed")
	ErrBadMeta         = errors.New("proto: request meta cannot be read")
	ErrBadMessageBegin = errors.New("proto: message begin cannot be read")
	ErrBadMessageType  = errors.New("proto: unexpected message type")
	ErrBadHeaderCRC    = errors.New("proto: header checksum mismatch")
	ErrBadBodyCRC      = errors.New("proto: body checksum mismatch")
)

// maxCodeName is how much of a task code name Apache Pegasus keeps: its field has 48 bytes with the final NUL.
const maxCodeName = 47

// setName looks the name up. Registered names are short and hold no NUL, so cutting can wait until the lookup failed.
func (req *Request) setName(name []byte) {
	req.Code = ParseCode(name)
	if req.Code == CodeUnknown {
		name = cutName(name)
		req.Code = ParseCode(name)
	}
	req.Name = name
}

func cutName(name []byte) []byte {
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	return name[:min(len(name), maxCodeName)]
}

// hasMagic tells whether in begins with magic, or is a beginning of it.
func hasMagic(in []byte, magic string) bool {
	if len(in) < len(magic) {
		return magic[:len(in)] == string(in)
	}
	return string(in[:len(magic)]) == magic
}
