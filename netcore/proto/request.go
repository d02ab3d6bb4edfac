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
	// Name is the task code name, cut at the first NUL or at 47 bytes as Apache Pegasus does before it looks it up.
	Name   []byte
	Header []byte // the native header, nil for THFT
	// Args is the argument as sent: field header, value, stop byte. Undecodable arguments are found by the decoder of
	// the message, not by the frame parser.
	Args []byte
	// Ignore is set for a native frame that is no request: it is consumed and not answered.
	Ignore bool
	// Reject, when not ErrOK, is what must be answered (AppendErrorReply) without looking at Args: they are in a
	// serialisation that no server of ours reads.
	Reject ErrCode
}

// ReplyTo returns what is needed to answer req after its frame is gone. It allocates only for native requests.
func (req *Request) ReplyTo() ReplyTo {
	to := ReplyTo{Framing: req.Framing, Code: req.Code, Seq: req.Seq}
	if req.Framing == FramingRDSN {
		to.Native = (*[NativeHeaderLen]byte)(append(make([]byte, 0, NativeHeaderLen), req.Header...))
	}
	return to
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
