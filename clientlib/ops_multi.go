package clientlib

import (
	"context"
	"time"

	"pegasus/netcore/proto"
)

// FilterType says where a pattern must be found in a key.
type FilterType int

// The filters.
const (
	FilterTypeNoFilter      FilterType = FilterType(proto.FilterNone)
	FilterTypeMatchAnywhere FilterType = FilterType(proto.FilterAnywhere)
	FilterTypeMatchPrefix   FilterType = FilterType(proto.FilterPrefix)
	FilterTypeMatchPostfix  FilterType = FilterType(proto.FilterPostfix)
)

func (f FilterType) wire() proto.FilterType { return proto.FilterType(f) }

// Filter selects keys. The zero value selects all.
type Filter struct {
	Type    FilterType
	Pattern []byte
}

// MultiGetOptions are the options of MultiGetOpt and MultiGetRangeOpt. nil means DefaultMultiGetOptions.
type MultiGetOptions struct {
	StartInclusive bool
	StopInclusive  bool
	SortKeyFilter  Filter
	// MaxFetchCount and MaxFetchSize, in records and bytes, limit what is returned. 0 or less means the server's limits.
	MaxFetchCount int
	MaxFetchSize  int
	// Reverse looks from the end of the range. What is returned is in ascending order all the same.
	Reverse bool
	// NoValue leaves the values out.
	NoValue bool
}

// DefaultMultiGetOptions are those of the official client.
var DefaultMultiGetOptions = &MultiGetOptions{StartInclusive: true, MaxFetchCount: 100, MaxFetchSize: 100000}

// MultiGet returns records of a hash key: those with the given sort keys, in that order and without those that do not
// exist; without sort keys all, in ascending order. all tells that none was left out because of a limit.
func (t *Table) MultiGet(ctx context.Context, hashKey []byte, sortKeys [][]byte) (kvs []*KeyValue, all bool, err error) {
	return t.MultiGetOpt(ctx, hashKey, sortKeys, nil)
}

// MultiGetOpt is MultiGet with options. With sort keys only the limits and NoValue count.
func (t *Table) MultiGetOpt(ctx context.Context, hashKey []byte, sortKeys [][]byte, o *MultiGetOptions) (kvs []*KeyValue, all bool, err error) {
	return t.multiGet(ctx, hashKey, sortKeys, nil, nil, o)
}

// MultiGetRange returns the records of a hash key from one sort key to before another, in ascending order. An empty start or
// stop means the first or the end.
func (t *Table) MultiGetRange(ctx context.Context, hashKey, startSortKey, stopSortKey []byte) (kvs []*KeyValue, all bool, err error) {
	return t.MultiGetRangeOpt(ctx, hashKey, startSortKey, stopSortKey, nil)
}

// MultiGetRangeOpt is MultiGetRange with options.
func (t *Table) MultiGetRangeOpt(ctx context.Context, hashKey, startSortKey, stopSortKey []byte, o *MultiGetOptions) (
	kvs []*KeyValue, all bool, err error) {
	return t.multiGet(ctx, hashKey, nil, startSortKey, stopSortKey, o)
}

// MultiGetSortKeys lists the sort keys of a hash key, in ascending order; nil options are the defaults. all is as in MultiGet.
func (t *Table) MultiGetSortKeys(ctx context.Context, hashKey []byte, o *MultiGetOptions) (sortKeys [][]byte, all bool, err error) {
	if o == nil {
		o = DefaultMultiGetOptions
	}
	keysOnly := *o
	keysOnly.NoValue = true
	kvs, all, err := t.multiGet(ctx, hashKey, nil, nil, nil, &keysOnly)
	if err != nil {
		return nil, false, err
	}
	for _, kv := range kvs {
		sortKeys = append(sortKeys, kv.SortKey)
	}
	return sortKeys, all, nil
}

func (t *Table) multiGet(ctx context.Context, hashKey []byte, sortKeys [][]byte, start, stop []byte, o *MultiGetOptions) (
	kvs []*KeyValue, all bool, err error) {
	p := newPending(proto.CodeMultiGet)
	defer p.release()
	if err := t.run(ctx, p, p.encodeMultiGet(hashKey, sortKeys, start, stop, o)); err != nil {
		return nil, false, err
	}
	return p.decodeMultiGet(t.valuesOf(o))
}

// valuesOf is the compressor for values that were asked for.
func (t *Table) valuesOf(o *MultiGetOptions) Compressor {
	if o != nil && o.NoValue {
		return nil
	}
	return t.client.opt.Compressor
}

// MultiSet writes records of one hash key atomically. sortKeys and values have equal lengths.
func (t *Table) MultiSet(ctx context.Context, hashKey []byte, sortKeys, values [][]byte) error {
	return t.MultiSetOpt(ctx, hashKey, sortKeys, values, 0)
}

// MultiSetOpt is MultiSet; the records expire after ttl, if that is positive.
func (t *Table) MultiSetOpt(ctx context.Context, hashKey []byte, sortKeys, values [][]byte, ttl time.Duration) error {
	p := newPending(proto.CodeMultiPut)
	defer p.release()
	if err := t.run(ctx, p, p.encodeMultiSet(t.client.opt.Compressor, hashKey, sortKeys, values, ttl)); err != nil {
		return err
	}
	return p.decodeUpdate()
}

// MultiDel removes records of one hash key atomically. It is no error if they do not exist.
func (t *Table) MultiDel(ctx context.Context, hashKey []byte, sortKeys [][]byte) error {
	p := newPending(proto.CodeMultiRemove)
	defer p.release()
	if err := t.run(ctx, p, p.encodeMultiDel(hashKey, sortKeys)); err != nil {
		return err
	}
	return p.decodeMultiDel()
}

// delRangeBatch is how many records DelRange removes at once.
const delRangeBatch = 100

// DelRangeOptions are the options of DelRangeOpt. nil means that start is included and stop is not.
type DelRangeOptions struct {
	StartInclusive bool
	StopInclusive  bool
	SortKeyFilter  Filter
}

// DelRange removes the records of a hash key from one sort key to before another, batch by batch: when it fails, some may be
// gone. It returns how many were removed.
func (t *Table) DelRange(ctx context.Context, hashKey, startSortKey, stopSortKey []byte) (removed int64, err error) {
	return t.DelRangeOpt(ctx, hashKey, startSortKey, stopSortKey, nil)
}

// DelRangeOpt is DelRange with options.
func (t *Table) DelRangeOpt(ctx context.Context, hashKey, startSortKey, stopSortKey []byte, o *DelRangeOptions) (removed int64, err error) {
	if o == nil {
		o = &DelRangeOptions{StartInclusive: true}
	}
	get := &MultiGetOptions{
		StartInclusive: o.StartInclusive, StopInclusive: o.StopInclusive, SortKeyFilter: o.SortKeyFilter,
		MaxFetchCount: delRangeBatch, NoValue: true,
	}
	for {
		kvs, all, err := t.MultiGetRangeOpt(ctx, hashKey, startSortKey, stopSortKey, get)
		if err != nil {
			return removed, err
		}
		if len(kvs) > 0 {
			keys := make([][]byte, len(kvs))
			for i, kv := range kvs {
				keys[i] = kv.SortKey
			}
			if err := t.MultiDel(ctx, hashKey, keys); err != nil {
				return removed, err
			}
			removed += int64(len(kvs))
			startSortKey, get.StartInclusive = keys[len(keys)-1], false
		}
		if all || len(kvs) == 0 && o.SortKeyFilter.Type == FilterTypeNoFilter {
			return removed, nil
		}
		if len(kvs) == 0 {
			// The filter let nothing through, and the server does not say how far it looked: scan the rest.
			more, err := t.delScanned(ctx, hashKey, startSortKey, stopSortKey, get)
			return removed + more, err
		}
	}
}

// delScanned removes what a scanner finds.
func (t *Table) delScanned(ctx context.Context, hashKey, start, stop []byte, o *MultiGetOptions) (removed int64, err error) {
	s, err := t.GetScanner(ctx, hashKey, start, stop, &ScannerOptions{
		StartInclusive: o.StartInclusive, StopInclusive: o.StopInclusive, SortKeyFilter: o.SortKeyFilter, NoValue: true,
	})
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.Close() }()
	var keys [][]byte
	for {
		done, _, sortKey, _, err := s.Next(ctx)
		if err != nil {
			return removed, err
		}
		if !done {
			keys = append(keys, sortKey)
		}
		if len(keys) == delRangeBatch || done && len(keys) > 0 {
			if err := t.MultiDel(ctx, hashKey, keys); err != nil {
				return removed, err
			}
			removed += int64(len(keys))
			keys = keys[:0]
		}
		if done {
			return removed, nil
		}
	}
}
