package proto

// Framing is the dialect in which a request arrived and in which its reply must be written.
type Framing uint8

// The framings of a connection. THFT v0 and v1 may alternate on one connection (spec wire 10).
const (
	FramingTHFT0 Framing = iota // "THFT", 48-byte header
	FramingTHFT1                // "THFT", 16-byte prefix and a thrift struct
	FramingRDSN                 // "RDSN", 192-byte native header
)

// Request is one parsed client request. All slices are views into the frame; whoever keeps a Request past the life of
// the frame's bytes copies what it needs.
type Request struct {
	Framing   Framing
	Code      Code // CodeUnknown when the name is not registered
	Backup    bool // the client allows a secondary to answer
	TimeoutMS int32
	GPID      GPID
	Hash      uint64 // client_partition_hash
	Seq       uint64 // thrift seqid (sign-extended i32) or native message id
	Name      []byte // task code name as sent
	Header    []byte // the native header, nil for THFT
	// Args is the argument as sent: field header, value, stop byte. Undecodable arguments are found by the decoder of
	// the message, not by the frame parser.
	Args []byte
}

// ReplyTo is what must be kept of a request to answer it later. It holds no view and may be copied freely.
type ReplyTo struct {
	Framing Framing
	Code    Code
	Seq     uint64
	// Native is a copy of the request's native header; nil for THFT.
	Native *[NativeHeaderLen]byte
}

// NativeHeaderLen is the size of the native (RDSN) header in bytes.
const NativeHeaderLen = 192
