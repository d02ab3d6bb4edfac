package proto

// Messages about one record, and the responses that several RPCs share.

// PutRequest is update_request, the argument of PUT.
type PutRequest struct {
	Key    []byte // raw key
	Value  []byte
	Expire int32 // seconds since 2016; used as u32; 0 = never
	Type   UpdateType
}

// DecodeArgs decodes the argument of a request as views into args.
func (m *PutRequest) DecodeArgs(args []byte) error {
	*m = PutRequest{}
	r := valueReader(args)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagBlob:
			m.Key = r.Blob()
		case 2<<8 | tagBlob:
			m.Value = r.Blob()
		case 3<<8 | tagI32:
			m.Expire = r.I32()
		case 4<<8 | tagI32:
			m.Type = UpdateType(r.I32())
		case 7<<8 | tagBlob: // check_value: only between servers, but it must be passed over by its real layout
			r.Blob()
		default:
			r.skipTag(tag)
		}
	}
	return endValue(&r)
}

// AppendArgs appends the argument of a request.
func (m *PutRequest) AppendArgs(dst []byte) []byte {
	dst = beginArgs(dst)
	dst = appendBlobField(dst, 1, m.Key)
	dst = appendBlobField(dst, 2, m.Value)
	dst = appendI32Field(dst, 3, m.Expire)
	if m.Type != UpdatePut {
		dst = appendI32Field(dst, 4, int32(m.Type))
	}
	return endStruct(dst)
}

// DecodeBlobArg decodes the argument of GET, TTL, REMOVE (a raw key) and SORTKEY_COUNT (a hash key) as a view.
func DecodeBlobArg(args []byte) ([]byte, error) {
	r := valueReader(args)
	key := r.Blob()
	return key, endValue(&r)
}

// AppendBlobArg appends the argument of GET, TTL, REMOVE or SORTKEY_COUNT.
func AppendBlobArg(dst, key []byte) []byte {
	return append(AppendBlob(beginArgs(dst), key), TStop)
}

// UpdateResponse is update_response, the result of PUT, REMOVE and MULTI_PUT.
type UpdateResponse struct {
	Error  StorageStatus
	GPID   GPID
	Decree Decree
	Server []byte
}

// AppendResult appends the result of a reply.
func (m *UpdateResponse) AppendResult(dst []byte) []byte {
	dst = beginResult(dst)
	dst = appendI32Field(dst, 1, int32(m.Error))
	dst = appendI32Field(dst, 2, m.GPID.App)
	dst = appendI32Field(dst, 3, m.GPID.Part)
	dst = appendI64Field(dst, 4, int64(m.Decree))
	dst = appendStringField(dst, 5, m.Server)
	return endStruct(dst)
}

// DecodeResult decodes the result of a reply as views into body.
func (m *UpdateResponse) DecodeResult(body []byte) error {
	*m = UpdateResponse{}
	r := valueReader(body)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagI32:
			m.Error = StorageStatus(r.I32())
		case 2<<8 | tagI32:
			m.GPID.App = r.I32()
		case 3<<8 | tagI32:
			m.GPID.Part = r.I32()
		case 4<<8 | tagI64:
			m.Decree = Decree(r.I64())
		case 5<<8 | tagString:
			m.Server = r.Blob()
		default:
			r.skipTag(tag)
		}
	}
	return endValue(&r)
}

// ReadResponse is read_response, the result of GET.
type ReadResponse struct {
	Error  StorageStatus
	Value  []byte
	GPID   GPID
	Server []byte
}

// AppendResult appends the result of a reply.
func (m *ReadResponse) AppendResult(dst []byte) []byte {
	dst = beginResult(dst)
	dst = appendI32Field(dst, 1, int32(m.Error))
	dst = appendBlobField(dst, 2, m.Value)
	dst = appendReadTail(dst, m.GPID, m.Server)
	return endStruct(dst)
}

// DecodeResult decodes the result of a reply as views into body.
func (m *ReadResponse) DecodeResult(body []byte) error {
	*m = ReadResponse{}
	r := valueReader(body)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagI32:
			m.Error = StorageStatus(r.I32())
		case 2<<8 | tagBlob:
			m.Value = r.Blob()
		default:
			r.readTail(tag, &m.GPID, &m.Server)
		}
	}
	return endValue(&r)
}

// TTLResponse is ttl_response, the result of TTL. Seconds is -1 for a record that never expires.
type TTLResponse struct {
	Error   StorageStatus
	Seconds int32
	GPID    GPID
	Server  []byte
}

// AppendResult appends the result of a reply.
func (m *TTLResponse) AppendResult(dst []byte) []byte {
	dst = beginResult(dst)
	dst = appendI32Field(dst, 1, int32(m.Error))
	dst = appendI32Field(dst, 2, m.Seconds)
	dst = appendReadTail(dst, m.GPID, m.Server)
	return endStruct(dst)
}

// DecodeResult decodes the result of a reply as views into body.
func (m *TTLResponse) DecodeResult(body []byte) error {
	*m = TTLResponse{}
	r := valueReader(body)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagI32:
			m.Error = StorageStatus(r.I32())
		case 2<<8 | tagI32:
			m.Seconds = r.I32()
		default:
			r.readTail(tag, &m.GPID, &m.Server)
		}
	}
	return endValue(&r)
}

// CountResponse is count_response, the result of SORTKEY_COUNT. Count is -1 when the time for counting ran out.
type CountResponse struct {
	Error  StorageStatus
	Count  int64
	GPID   GPID
	Server []byte
}

// AppendResult appends the result of a reply.
func (m *CountResponse) AppendResult(dst []byte) []byte {
	dst = beginResult(dst)
	dst = appendI32Field(dst, 1, int32(m.Error))
	dst = appendI64Field(dst, 2, m.Count)
	dst = appendReadTail(dst, m.GPID, m.Server)
	return endStruct(dst)
}

// DecodeResult decodes the result of a reply as views into body.
func (m *CountResponse) DecodeResult(body []byte) error {
	*m = CountResponse{}
	r := valueReader(body)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagI32:
			m.Error = StorageStatus(r.I32())
		case 2<<8 | tagI64:
			m.Count = r.I64()
		default:
			r.readTail(tag, &m.GPID, &m.Server)
		}
	}
	return endValue(&r)
}

// appendReadTail appends what all read responses end with; id 5 is a hole in the IDL.
func appendReadTail(dst []byte, g GPID, server []byte) []byte {
	dst = appendI32Field(dst, 3, g.App)
	dst = appendI32Field(dst, 4, g.Part)
	return appendStringField(dst, 6, server)
}

// readTail decodes one field of the common tail of the read responses, or skips an unknown one.
func (r *Reader) readTail(tag int32, g *GPID, server *[]byte) {
	switch tag {
	case 3<<8 | tagI32:
		g.App = r.I32()
	case 4<<8 | tagI32:
		g.Part = r.I32()
	case 6<<8 | tagString:
		*server = r.Blob()
	default:
		r.skipTag(tag)
	}
}
