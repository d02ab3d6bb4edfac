package proto

// Messages of the scanners.

// Context ids with a meaning of their own in a ScanResponse.
const (
	ScanNone      int64 = 0  // an empty range, an error, or an unknown context
	ScanCompleted int64 = -1 // the scan reached its end
)

// GetScannerRequest is get_scanner_request. Start and Stop are raw keys.
type GetScannerRequest struct {
	Start           []byte
	Stop            []byte
	StartInclusive  bool
	StopInclusive   bool
	BatchSize       int32 // <= 0: the server's limit
	NoValue         bool
	HashFilterType  FilterType
	HashFilter      []byte
	SortFilterType  FilterType
	SortFilter      []byte
	ValidateHash    OptBool // unset means true
	ReturnExpire    OptBool // unset means false
	FullScan        OptBool // unset means false
	OnlyReturnCount OptBool // unset means false
}

// DecodeArgs decodes the argument of a request as views into args.
func (m *GetScannerRequest) DecodeArgs(args []byte) error {
	*m = GetScannerRequest{}
	r := valueReader(args)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagBlob:
			m.Start = r.Blob()
		case 2<<8 | tagBlob:
			m.Stop = r.Blob()
		case 3<<8 | tagBool:
			m.StartInclusive = r.Bool()
		case 4<<8 | tagBool:
			m.StopInclusive = r.Bool()
		case 5<<8 | tagI32:
			m.BatchSize = r.I32()
		case 6<<8 | tagBool:
			m.NoValue = r.Bool()
		case 7<<8 | tagI32:
			m.HashFilterType = FilterType(r.I32())
		case 8<<8 | tagBlob:
			m.HashFilter = r.Blob()
		case 9<<8 | tagI32:
			m.SortFilterType = FilterType(r.I32())
		case 10<<8 | tagBlob:
			m.SortFilter = r.Blob()
		case 11<<8 | tagBool:
			m.ValidateHash = optBool(r.Bool())
		case 12<<8 | tagBool:
			m.ReturnExpire = optBool(r.Bool())
		case 13<<8 | tagBool:
			m.FullScan = optBool(r.Bool())
		case 14<<8 | tagBool:
			m.OnlyReturnCount = optBool(r.Bool())
		default:
			r.skipTag(tag)
		}
	}
	return endValue(&r)
}

// AppendArgs appends the argument of a request.
func (m *GetScannerRequest) AppendArgs(dst []byte) []byte {
	dst = beginArgs(dst)
	dst = appendBlobField(dst, 1, m.Start)
	dst = appendBlobField(dst, 2, m.Stop)
	dst = appendBoolField(dst, 3, m.StartInclusive)
	dst = appendBoolField(dst, 4, m.StopInclusive)
	dst = appendI32Field(dst, 5, m.BatchSize)
	dst = appendBoolField(dst, 6, m.NoValue)
	dst = appendI32Field(dst, 7, int32(m.HashFilterType))
	dst = appendBlobField(dst, 8, m.HashFilter)
	dst = appendI32Field(dst, 9, int32(m.SortFilterType))
	dst = appendBlobField(dst, 10, m.SortFilter)
	dst = appendOptBool(dst, 11, m.ValidateHash)
	dst = appendOptBool(dst, 12, m.ReturnExpire)
	dst = appendOptBool(dst, 13, m.FullScan)
	dst = appendOptBool(dst, 14, m.OnlyReturnCount)
	return endStruct(dst)
}

// DecodeScanArgs decodes scan_request, the argument of SCAN: a context id.
func DecodeScanArgs(args []byte) (context int64, err error) {
	r := valueReader(args)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagI64:
			context = r.I64()
		default:
			r.skipTag(tag)
		}
	}
	return context, endValue(&r)
}

// AppendScanArgs appends the argument of SCAN.
func AppendScanArgs(dst []byte, context int64) []byte {
	return endStruct(appendI64Field(beginArgs(dst), 1, context))
}

// DecodeClearScannerArgs decodes the argument of CLEAR_SCANNER: a bare context id.
func DecodeClearScannerArgs(args []byte) (context int64, err error) {
	r := valueReader(args)
	context = r.I64()
	return context, endValue(&r)
}

// AppendClearScannerArgs appends the argument of CLEAR_SCANNER.
func AppendClearScannerArgs(dst []byte, context int64) []byte {
	return append(appendI64Field(dst, 1, context), TStop)
}

// ScanResponse is scan_response, the result of GET_SCANNER and SCAN.
type ScanResponse struct {
	Error    StorageStatus
	KVs      List  // of KeyValue, keys are raw keys
	Context  int64 // for the next SCAN, or one of the Scan constants
	GPID     GPID
	Server   []byte
	Count    int32 // instead of KVs, when only the count was asked for
	HasCount bool
}

// AppendResult appends the result of a reply.
func (m *ScanResponse) AppendResult(dst []byte) []byte {
	dst = beginResult(dst)
	dst = appendI32Field(dst, 1, int32(m.Error))
	dst = appendListField(dst, 2, m.KVs)
	dst = appendI64Field(dst, 3, m.Context)
	dst = appendI32Field(dst, 4, m.GPID.App)
	dst = appendI32Field(dst, 5, m.GPID.Part)
	dst = appendStringField(dst, 6, m.Server)
	if m.HasCount {
		dst = appendI32Field(dst, 7, m.Count)
	}
	return endStruct(dst)
}

// DecodeResult decodes the result of a reply as views into body.
func (m *ScanResponse) DecodeResult(body []byte) error {
	*m = ScanResponse{}
	r := valueReader(body)
	for tag := r.tag(); tag != 0; tag = r.tag() {
		switch tag {
		case 1<<8 | tagI32:
			m.Error = StorageStatus(r.I32())
		case 2<<8 | tagList:
			m.KVs = readKeyValueList(&r)
		case 3<<8 | tagI64:
			m.Context = r.I64()
		case 4<<8 | tagI32:
			m.GPID.App = r.I32()
		case 5<<8 | tagI32:
			m.GPID.Part = r.I32()
		case 6<<8 | tagString:
			m.Server = r.Blob()
		case 7<<8 | tagI32:
			m.Count, m.HasCount = r.I32(), true
		default:
			r.skipTag(tag)
		}
	}
	return endValue(&r)
}
