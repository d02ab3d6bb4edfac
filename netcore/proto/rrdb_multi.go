package proto

// Messages about several records of one hash key, and BATCH_GET.

// KeyValue is key_value. In MULTI_PUT and MULTI_GET Key is a sort key, in scans a raw key.
type KeyValue struct {
	Key       []byte
	Value     []byte
	Expire    int32 // seconds since 2016, used as u32
	HasExpire bool  // Expire is optional; only scans that asked for it carry it
}

// Append appends the struct value.
func (kv KeyValue) Append(dst []byte) []byte {
	dst = appendBlobField(dst, 1, kv.Key)
	dst = appendBlobField(dst, 2, kv.Value)
	if kv.HasExpire {
		dst = appendI32Field(dst, 3, kv.Expire)
	}
	return append(dst, TStop)
}

// KeyValue reads a struct value as views.
func (r *Reader) KeyValue() (kv KeyValue) {
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagBlob:
			kv.Key = r.Blob()
		case 2<<8 | tagBlob:
			kv.Value = r.Blob()
		case 3<<8 | tagI32:
			kv.Expire, kv.HasExpire = r.I32(), true
		default:
			r.skipTag(tag)
		}
	}
	return kv
}

func readKeyValueList(r *Reader) List {
	_, n := r.ListHeader(minStruct)
	start := r.Offset()
	for i := 0; i < n && r.Err() == nil; i++ {
		r.KeyValue()
	}
	return r.listFrom(start, n)
}

// MultiPutRequest is multi_put_request.
type MultiPutRequest struct {
	HashKey []byte
	KVs     List  // of KeyValue, keys are sort keys
	Expire  int32 // for all; seconds since 2016, used as u32
}

// DecodeArgs decodes the argument of a request as views into args.
func (m *MultiPutRequest) DecodeArgs(args []byte) error {
	*m = MultiPutRequest{}
	r := valueReader(args)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagBlob:
			m.HashKey = r.Blob()
		case 2<<8 | tagList:
			m.KVs = readKeyValueList(&r)
		case 3<<8 | tagI32:
			m.Expire = r.I32()
		default:
			r.skipTag(tag)
		}
	}
	return endValue(&r)
}

// AppendArgs appends the argument of a request.
func (m *MultiPutRequest) AppendArgs(dst []byte) []byte {
	dst = beginArgs(dst)
	dst = appendBlobField(dst, 1, m.HashKey)
	dst = appendListField(dst, 2, m.KVs)
	dst = appendI32Field(dst, 3, m.Expire)
	return endStruct(dst)
}

// MultiRemoveRequest is multi_remove_request.
type MultiRemoveRequest struct {
	HashKey  []byte
	SortKeys List  // of blobs
	MaxCount int64 // sent by clients, ignored by servers
}

// DecodeArgs decodes the argument of a request as views into args.
func (m *MultiRemoveRequest) DecodeArgs(args []byte) error {
	*m = MultiRemoveRequest{}
	r := valueReader(args)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagBlob:
			m.HashKey = r.Blob()
		case 2<<8 | tagList:
			m.SortKeys = readBlobList(&r)
		case 3<<8 | tagI64:
			m.MaxCount = r.I64()
		default:
			r.skipTag(tag)
		}
	}
	return endValue(&r)
}

// AppendArgs appends the argument of a request.
func (m *MultiRemoveRequest) AppendArgs(dst []byte) []byte {
	dst = beginArgs(dst)
	dst = appendBlobField(dst, 1, m.HashKey)
	dst = appendListField(dst, 2, m.SortKeys)
	dst = appendI64Field(dst, 3, m.MaxCount)
	return endStruct(dst)
}

// MultiRemoveResponse is multi_remove_response. Count is the number of sort keys asked for, not of records removed.
type MultiRemoveResponse struct {
	Error  StorageStatus
	Count  int64
	GPID   GPID
	Decree Decree
	Server []byte
}

// AppendResult appends the result of a reply.
func (m *MultiRemoveResponse) AppendResult(dst []byte) []byte {
	return appendCountedUpdate(dst, m.Error, m.Count, m.GPID, m.Decree, m.Server)
}

// DecodeResult decodes the result of a reply as views into body.
func (m *MultiRemoveResponse) DecodeResult(body []byte) error {
	*m = MultiRemoveResponse{}
	return decodeCountedUpdate(body, &m.Error, &m.Count, &m.GPID, &m.Decree, &m.Server)
}

// appendCountedUpdate writes the layout that multi_remove_response and incr_response have in common.
func appendCountedUpdate(dst []byte, e StorageStatus, n int64, g GPID, d Decree, server []byte) []byte {
	dst = beginResult(dst)
	dst = appendI32Field(dst, 1, int32(e))
	dst = appendI64Field(dst, 2, n)
	dst = appendI32Field(dst, 3, g.App)
	dst = appendI32Field(dst, 4, g.Part)
	dst = appendI64Field(dst, 5, int64(d))
	dst = appendStringField(dst, 6, server)
	return endStruct(dst)
}

func decodeCountedUpdate(body []byte, e *StorageStatus, n *int64, g *GPID, d *Decree, server *[]byte) error {
	r := valueReader(body)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagI32:
			*e = StorageStatus(r.I32())
		case 2<<8 | tagI64:
			*n = r.I64()
		case 5<<8 | tagI64:
			*d = Decree(r.I64())
		default:
			r.readTail(tag, g, server)
		}
	}
	return endValue(&r)
}

// MultiGetRequest is multi_get_request. With SortKeys it looks those up; without, it reads a range of the hash key.
type MultiGetRequest struct {
	HashKey        []byte
	SortKeys       List  // of blobs
	MaxCount       int32 // <= 0: the server's limit
	MaxSize        int32 // bytes of sort keys and values; <= 0: the server's limit
	NoValue        bool
	Start          []byte // sort key
	Stop           []byte // sort key; empty: the end of the hash key
	StartInclusive bool
	StopInclusive  bool
	FilterType     FilterType
	FilterPattern  []byte
	Reverse        bool
}

// DecodeArgs decodes the argument of a request as views into args.
func (m *MultiGetRequest) DecodeArgs(args []byte) error {
	*m = MultiGetRequest{}
	r := valueReader(args)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagBlob:
			m.HashKey = r.Blob()
		case 2<<8 | tagList:
			m.SortKeys = readBlobList(&r)
		case 3<<8 | tagI32:
			m.MaxCount = r.I32()
		case 4<<8 | tagI32:
			m.MaxSize = r.I32()
		case 5<<8 | tagBool:
			m.NoValue = r.Bool()
		case 6<<8 | tagBlob:
			m.Start = r.Blob()
		case 7<<8 | tagBlob:
			m.Stop = r.Blob()
		case 8<<8 | tagBool:
			m.StartInclusive = r.Bool()
		case 9<<8 | tagBool:
			m.StopInclusive = r.Bool()
		case 10<<8 | tagI32:
			m.FilterType = FilterType(r.I32())
		case 11<<8 | tagBlob:
			m.FilterPattern = r.Blob()
		case 12<<8 | tagBool:
			m.Reverse = r.Bool()
		default:
			r.skipTag(tag)
		}
	}
	return endValue(&r)
}

// AppendArgs appends the argument of a request.
func (m *MultiGetRequest) AppendArgs(dst []byte) []byte {
	dst = beginArgs(dst)
	dst = appendBlobField(dst, 1, m.HashKey)
	dst = appendListField(dst, 2, m.SortKeys)
	dst = appendI32Field(dst, 3, m.MaxCount)
	dst = appendI32Field(dst, 4, m.MaxSize)
	dst = appendBoolField(dst, 5, m.NoValue)
	dst = appendBlobField(dst, 6, m.Start)
	dst = appendBlobField(dst, 7, m.Stop)
	dst = appendBoolField(dst, 8, m.StartInclusive)
	dst = appendBoolField(dst, 9, m.StopInclusive)
	dst = appendI32Field(dst, 10, int32(m.FilterType))
	dst = appendBlobField(dst, 11, m.FilterPattern)
	dst = appendBoolField(dst, 12, m.Reverse)
	return endStruct(dst)
}

// MultiGetResponse is multi_get_response.
type MultiGetResponse struct {
	Error  StorageStatus // StorageIncomplete: there is more than KVs
	KVs    List          // of KeyValue, keys are sort keys
	GPID   GPID
	Server []byte
}

// AppendResult appends the result of a reply.
func (m *MultiGetResponse) AppendResult(dst []byte) []byte {
	return appendListResult(dst, m.Error, m.KVs, m.GPID, m.Server)
}

// DecodeResult decodes the result of a reply as views into body.
func (m *MultiGetResponse) DecodeResult(body []byte) error {
	*m = MultiGetResponse{}
	r := valueReader(body)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagI32:
			m.Error = StorageStatus(r.I32())
		case 2<<8 | tagList:
			m.KVs = readKeyValueList(&r)
		default:
			r.readTail(tag, &m.GPID, &m.Server)
		}
	}
	return endValue(&r)
}

// appendListResult writes the layout that multi_get_response and batch_get_response have in common.
func appendListResult(dst []byte, e StorageStatus, l List, g GPID, server []byte) []byte {
	dst = beginResult(dst)
	dst = appendI32Field(dst, 1, int32(e))
	dst = appendListField(dst, 2, l)
	dst = appendReadTail(dst, g, server)
	return endStruct(dst)
}

// FullKey is full_key.
type FullKey struct {
	HashKey []byte
	SortKey []byte
}

// Append appends the struct value.
func (k FullKey) Append(dst []byte) []byte {
	dst = appendBlobField(dst, 1, k.HashKey)
	dst = appendBlobField(dst, 2, k.SortKey)
	return append(dst, TStop)
}

// FullKey reads a struct value as views.
func (r *Reader) FullKey() (k FullKey) {
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagBlob:
			k.HashKey = r.Blob()
		case 2<<8 | tagBlob:
			k.SortKey = r.Blob()
		default:
			r.skipTag(tag)
		}
	}
	return k
}

// FullData is full_data.
type FullData struct {
	HashKey []byte
	SortKey []byte
	Value   []byte
}

// Append appends the struct value.
func (d FullData) Append(dst []byte) []byte {
	dst = appendBlobField(dst, 1, d.HashKey)
	dst = appendBlobField(dst, 2, d.SortKey)
	dst = appendBlobField(dst, 3, d.Value)
	return append(dst, TStop)
}

// FullData reads a struct value as views.
func (r *Reader) FullData() (d FullData) {
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagBlob:
			d.HashKey = r.Blob()
		case 2<<8 | tagBlob:
			d.SortKey = r.Blob()
		case 3<<8 | tagBlob:
			d.Value = r.Blob()
		default:
			r.skipTag(tag)
		}
	}
	return d
}

// BatchGetRequest is batch_get_request.
type BatchGetRequest struct {
	Keys List // of FullKey
}

// DecodeArgs decodes the argument of a request as views into args.
func (m *BatchGetRequest) DecodeArgs(args []byte) error {
	*m = BatchGetRequest{}
	r := valueReader(args)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagList:
			_, n := r.ListHeader(minStruct)
			start := r.Offset()
			for i := 0; i < n && r.Err() == nil; i++ {
				r.FullKey()
			}
			m.Keys = r.listFrom(start, n)
		default:
			r.skipTag(tag)
		}
	}
	return endValue(&r)
}

// AppendArgs appends the argument of a request.
func (m *BatchGetRequest) AppendArgs(dst []byte) []byte {
	return endStruct(appendListField(beginArgs(dst), 1, m.Keys))
}

// BatchGetResponse is batch_get_response: the records that exist, in the order of the request.
type BatchGetResponse struct {
	Error  StorageStatus
	Data   List // of FullData
	GPID   GPID
	Server []byte
}

// AppendResult appends the result of a reply.
func (m *BatchGetResponse) AppendResult(dst []byte) []byte {
	return appendListResult(dst, m.Error, m.Data, m.GPID, m.Server)
}

// DecodeResult decodes the result of a reply as views into body.
func (m *BatchGetResponse) DecodeResult(body []byte) error {
	*m = BatchGetResponse{}
	r := valueReader(body)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagI32:
			m.Error = StorageStatus(r.I32())
		case 2<<8 | tagList:
			_, n := r.ListHeader(minStruct)
			start := r.Offset()
			for i := 0; i < n && r.Err() == nil; i++ {
				r.FullData()
			}
			m.Data = r.listFrom(start, n)
		default:
			r.readTail(tag, &m.GPID, &m.Server)
		}
	}
	return endValue(&r)
}
