package clientlib

import (
	"pegasus/netcore/proto"
)

// unreadable is the error of a call whose answer cannot be decoded. A write has been executed then, or so it seems.
func (p *pending) unreadable(err error) error {
	class := ErrRetriable
	if p.Code.IsWrite() {
		class = ErrUnknownOutcome
	}
	return p.failure(class, joined{ErrReply, err})
}

func (p *pending) decodeGet(c Compressor) ([]byte, error) {
	var r proto.ReadResponse
	if err := r.DecodeResult(p.Result); err != nil {
		return nil, p.unreadable(err)
	}
	switch r.Error {
	case proto.StorageOK:
		v, err := original(c, r.Value)
		if err != nil {
			return nil, p.unreadable(err)
		}
		return v, nil
	case proto.StorageNotFound:
		return nil, nil
	}
	return nil, statusError(&p.Call, r.Error)
}

// decodeUpdate reads the result of a write that returns nothing else.
func (p *pending) decodeUpdate() error {
	var r proto.UpdateResponse
	if err := r.DecodeResult(p.Result); err != nil {
		return p.unreadable(err)
	}
	if r.Error != proto.StorageOK {
		return statusError(&p.Call, r.Error)
	}
	return nil
}

func (p *pending) decodeTTL() (int, error) {
	var r proto.TTLResponse
	if err := r.DecodeResult(p.Result); err != nil {
		return 0, p.unreadable(err)
	}
	switch r.Error {
	case proto.StorageOK:
		if r.Seconds == NoTTL {
			return NoTTL, nil
		}
		return int(uint32(r.Seconds)), nil
	case proto.StorageNotFound:
		return NotFound, nil
	}
	return 0, statusError(&p.Call, r.Error)
}

func (p *pending) decodeIncr() (int64, error) {
	var r proto.IncrResponse
	if err := r.DecodeResult(p.Result); err != nil {
		return 0, p.unreadable(err)
	}
	if r.Error != proto.StorageOK {
		return r.NewValue, statusError(&p.Call, r.Error)
	}
	return r.NewValue, nil
}

func (p *pending) decodeCount() (int64, error) {
	var r proto.CountResponse
	if err := r.DecodeResult(p.Result); err != nil {
		return 0, p.unreadable(err)
	}
	if r.Error != proto.StorageOK {
		return 0, statusError(&p.Call, r.Error)
	}
	return r.Count, nil
}

func (p *pending) decodeMultiGet(c Compressor) (kvs []*KeyValue, all bool, err error) {
	var r proto.MultiGetResponse
	if err := r.DecodeResult(p.Result); err != nil {
		return nil, false, p.unreadable(err)
	}
	if r.Error != proto.StorageOK && r.Error != proto.StorageIncomplete {
		return nil, false, statusError(&p.Call, r.Error)
	}
	if r.KVs.N == 0 {
		return nil, r.Error == proto.StorageOK, nil
	}
	// Keys and values share one copy of the answer, the records one array: three allocations, however many they are.
	list := proto.NewReader(append([]byte(nil), r.KVs.Raw...))
	kvs = make([]*KeyValue, r.KVs.N)
	records := make([]KeyValue, r.KVs.N)
	for i := range records {
		kv := list.KeyValue()
		records[i] = KeyValue{SortKey: kv.Key, Value: kv.Value}
		if c != nil {
			if records[i].Value, err = original(c, kv.Value); err != nil {
				return nil, false, p.unreadable(err)
			}
		}
		kvs[i] = &records[i]
	}
	if err := list.Err(); err != nil {
		return nil, false, p.unreadable(err)
	}
	return kvs, r.Error == proto.StorageOK, nil
}

func (p *pending) decodeMultiDel() error {
	var r proto.MultiRemoveResponse
	if err := r.DecodeResult(p.Result); err != nil {
		return p.unreadable(err)
	}
	if r.Error != proto.StorageOK {
		return statusError(&p.Call, r.Error)
	}
	return nil
}

func (p *pending) decodeCheck(c Compressor) (*CheckAndSetResult, error) {
	var r proto.CheckResponse
	if err := r.DecodeResult(p.Result); err != nil {
		return nil, p.unreadable(err)
	}
	if r.Error != proto.StorageOK && r.Error != proto.StorageTryAgain {
		return nil, statusError(&p.Call, r.Error)
	}
	out := &CheckAndSetResult{
		SetSucceed: r.Error == proto.StorageOK, CheckValueReturned: r.ValueReturned, CheckValueExist: r.ValueReturned && r.ValueExist,
	}
	if out.CheckValueExist {
		var err error
		if out.CheckValue, err = original(c, r.Value); err != nil {
			return nil, p.unreadable(err)
		}
	}
	return out, nil
}
