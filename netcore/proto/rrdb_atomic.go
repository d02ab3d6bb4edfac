package proto

// Messages of the atomic operations: they read the record that they then change.

// IncrRequest is incr_request.
type IncrRequest struct {
	Key       []byte // raw key
	Increment int64
	Expire    int32 // 0 keeps the record's expiry, > 0 sets it, < 0 clears it
}

// DecodeArgs decodes the argument of a request as views into args.
func (m *IncrRequest) DecodeArgs(args []byte) error {
	*m = IncrRequest{}
	r := valueReader(args)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagBlob:
			m.Key = r.Blob()
		case 2<<8 | tagI64:
			m.Increment = r.I64()
		case 3<<8 | tagI32:
			m.Expire = r.I32()
		default:
			r.skipTag(tag)
		}
	}
	return endValue(&r)
}

// AppendArgs appends the argument of a request.
func (m *IncrRequest) AppendArgs(dst []byte) []byte {
	dst = beginArgs(dst)
	dst = appendBlobField(dst, 1, m.Key)
	dst = appendI64Field(dst, 2, m.Increment)
	dst = appendI32Field(dst, 3, m.Expire)
	return endStruct(dst)
}

// IncrResponse is incr_response.
type IncrResponse struct {
	Error    StorageStatus
	NewValue int64
	GPID     GPID
	Decree   Decree
	Server   []byte
}

// AppendResult appends the result of a reply.
func (m *IncrResponse) AppendResult(dst []byte) []byte {
	return appendCountedUpdate(dst, m.Error, m.NewValue, m.GPID, m.Decree, m.Server)
}

// DecodeResult decodes the result of a reply as views into body.
func (m *IncrResponse) DecodeResult(body []byte) error {
	*m = IncrResponse{}
	return decodeCountedUpdate(body, &m.Error, &m.NewValue, &m.GPID, &m.Decree, &m.Server)
}

// CheckAndSetRequest is check_and_set_request.
type CheckAndSetRequest struct {
	HashKey          []byte
	CheckSortKey     []byte
	CheckType        CheckType
	CheckOperand     []byte
	SetDiffSortKey   bool // write SetSortKey; otherwise the checked record itself
	SetSortKey       []byte
	SetValue         []byte
	SetExpire        int32 // seconds since 2016, used as u32
	ReturnCheckValue bool
}

// DecodeArgs decodes the argument of a request as views into args.
func (m *CheckAndSetRequest) DecodeArgs(args []byte) error {
	*m = CheckAndSetRequest{}
	r := valueReader(args)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagBlob:
			m.HashKey = r.Blob()
		case 2<<8 | tagBlob:
			m.CheckSortKey = r.Blob()
		case 3<<8 | tagI32:
			m.CheckType = CheckType(r.I32())
		case 4<<8 | tagBlob:
			m.CheckOperand = r.Blob()
		case 5<<8 | tagBool:
			m.SetDiffSortKey = r.Bool()
		case 6<<8 | tagBlob:
			m.SetSortKey = r.Blob()
		case 7<<8 | tagBlob:
			m.SetValue = r.Blob()
		case 8<<8 | tagI32:
			m.SetExpire = r.I32()
		case 9<<8 | tagBool:
			m.ReturnCheckValue = r.Bool()
		default:
			r.skipTag(tag)
		}
	}
	return endValue(&r)
}

// AppendArgs appends the argument of a request.
func (m *CheckAndSetRequest) AppendArgs(dst []byte) []byte {
	dst = beginArgs(dst)
	dst = appendBlobField(dst, 1, m.HashKey)
	dst = appendBlobField(dst, 2, m.CheckSortKey)
	dst = appendI32Field(dst, 3, int32(m.CheckType))
	dst = appendBlobField(dst, 4, m.CheckOperand)
	dst = appendBoolField(dst, 5, m.SetDiffSortKey)
	dst = appendBlobField(dst, 6, m.SetSortKey)
	dst = appendBlobField(dst, 7, m.SetValue)
	dst = appendI32Field(dst, 8, m.SetExpire)
	dst = appendBoolField(dst, 9, m.ReturnCheckValue)
	return endStruct(dst)
}

// Mutation is mutate, one element of a CHECK_AND_MUTATE.
type Mutation struct {
	Op      MutateOp
	SortKey []byte
	Value   []byte
	Expire  int32 // of a put; seconds since 2016, used as u32
}

// Append appends the struct value.
func (m Mutation) Append(dst []byte) []byte {
	dst = appendI32Field(dst, 1, int32(m.Op))
	dst = appendBlobField(dst, 2, m.SortKey)
	dst = appendBlobField(dst, 3, m.Value)
	dst = appendI32Field(dst, 4, m.Expire)
	return append(dst, TStop)
}

// Mutation reads a struct value as views.
func (r *Reader) Mutation() (m Mutation) {
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagI32:
			m.Op = MutateOp(r.I32())
		case 2<<8 | tagBlob:
			m.SortKey = r.Blob()
		case 3<<8 | tagBlob:
			m.Value = r.Blob()
		case 4<<8 | tagI32:
			m.Expire = r.I32()
		default:
			r.skipTag(tag)
		}
	}
	return m
}

// CheckAndMutateRequest is check_and_mutate_request.
type CheckAndMutateRequest struct {
	HashKey          []byte
	CheckSortKey     []byte
	CheckType        CheckType
	CheckOperand     []byte
	Mutations        List // of Mutation
	ReturnCheckValue bool
}

// DecodeArgs decodes the argument of a request as views into args.
func (m *CheckAndMutateRequest) DecodeArgs(args []byte) error {
	*m = CheckAndMutateRequest{}
	r := valueReader(args)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagBlob:
			m.HashKey = r.Blob()
		case 2<<8 | tagBlob:
			m.CheckSortKey = r.Blob()
		case 3<<8 | tagI32:
			m.CheckType = CheckType(r.I32())
		case 4<<8 | tagBlob:
			m.CheckOperand = r.Blob()
		case 5<<8 | tagList:
			_, n := r.ListHeader(minStruct)
			start := r.Offset()
			for i := 0; i < n && r.Err() == nil; i++ {
				r.Mutation()
			}
			m.Mutations = r.listFrom(start, n)
		case 6<<8 | tagBool:
			m.ReturnCheckValue = r.Bool()
		default:
			r.skipTag(tag)
		}
	}
	return endValue(&r)
}

// AppendArgs appends the argument of a request.
func (m *CheckAndMutateRequest) AppendArgs(dst []byte) []byte {
	dst = beginArgs(dst)
	dst = appendBlobField(dst, 1, m.HashKey)
	dst = appendBlobField(dst, 2, m.CheckSortKey)
	dst = appendI32Field(dst, 3, int32(m.CheckType))
	dst = appendBlobField(dst, 4, m.CheckOperand)
	dst = appendListField(dst, 5, m.Mutations)
	dst = appendBoolField(dst, 6, m.ReturnCheckValue)
	return endStruct(dst)
}

// CheckResponse is check_and_set_response and check_and_mutate_response, which have the same fields.
type CheckResponse struct {
	Error         StorageStatus
	ValueReturned bool
	ValueExist    bool
	Value         []byte
	GPID          GPID
	Decree        Decree
	Server        []byte
}

// AppendResult appends the result of a reply.
func (m *CheckResponse) AppendResult(dst []byte) []byte {
	dst = beginResult(dst)
	dst = appendI32Field(dst, 1, int32(m.Error))
	dst = appendBoolField(dst, 2, m.ValueReturned)
	dst = appendBoolField(dst, 3, m.ValueExist)
	dst = appendBlobField(dst, 4, m.Value)
	dst = appendI32Field(dst, 5, m.GPID.App)
	dst = appendI32Field(dst, 6, m.GPID.Part)
	dst = appendI64Field(dst, 7, int64(m.Decree))
	dst = appendStringField(dst, 8, m.Server)
	return endStruct(dst)
}

// DecodeResult decodes the result of a reply as views into body.
func (m *CheckResponse) DecodeResult(body []byte) error {
	*m = CheckResponse{}
	r := valueReader(body)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagI32:
			m.Error = StorageStatus(r.I32())
		case 2<<8 | tagBool:
			m.ValueReturned = r.Bool()
		case 3<<8 | tagBool:
			m.ValueExist = r.Bool()
		case 4<<8 | tagBlob:
			m.Value = r.Blob()
		case 5<<8 | tagI32:
			m.GPID.App = r.I32()
		case 6<<8 | tagI32:
			m.GPID.Part = r.I32()
		case 7<<8 | tagI64:
			m.Decree = Decree(r.I64())
		case 8<<8 | tagString:
			m.Server = r.Blob()
		default:
			r.skipTag(tag)
		}
	}
	return endValue(&r)
}
