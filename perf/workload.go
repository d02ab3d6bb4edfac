// Package perf puts load on a store and reports what came out: throughput, latency percentiles, and what an operation cost
// the servers and the client. What it drives is behind Driver: a cluster of this kind or of Apache Pegasus, which speak the
// same protocol, and for comparison Redis and etcd. It knows the servers by their addresses, their process ids and what
// they tell at their debug ports.
package perf

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// Kind is a kind of operation.
type Kind uint8

// The kinds of operations.
const (
	Get Kind = iota
	Put
	MultiGet    // Batch records of one hash key by their sort keys
	MultiPut    // Batch records of one hash key
	Scan        // 1 to Batch records of one hash key from a sort key on
	Incr        // of a counter
	CheckAndSet // write a record if it exists, which it does when the records were loaded
	Insert      // put a record that is not there yet
	Modify      // get a record, then put it: two requests, one operation
	TableScan   // the next Batch records at most of a scan of the whole table, which each slot makes for itself, again and again
	kinds
)

var kindNames = [kinds]string{"get", "put", "multi_get", "multi_put", "scan", "incr", "check_and_set", "insert", "modify", "full_scan"}

// String is the name in reports.
func (k Kind) String() string { return kindNames[k] }

// read tells whether the kind counts among the reads of a report.
func (k Kind) read() bool { return k == Get || k == MultiGet || k == Scan || k == TableScan }

// Mix gives the kinds of a workload their shares. They are relative to their sum.
type Mix map[Kind]float64

// MarshalText makes kinds readable as keys of JSON objects.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (k *Kind) UnmarshalText(text []byte) error {
	i := slices.Index(kindNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("no kind of operation is called %q; there are %s", text, strings.Join(kindNames[:], ", "))
	}
	*k = Kind(i)
	return nil
}

// Workload describes the records and the mix of operations.
type Workload struct {
	Records      uint64       `json:"records"`
	KeySize      int          `json:"key_size"`   // bytes of the hash key
	ValueSize    int          `json:"value_size"` // bytes
	ReadShare    float64      `json:"read_share"` // 0 to 1 of gets, the rest is puts; not used when there is a Mix
	Mix          Mix          `json:"mix,omitempty"`
	Distribution Distribution `json:"distribution"`
	// SortKeys is the number of records per hash key. 1: the sort key is empty; more: it is the record's number in its hash
	// key, sortKeyLen digits.
	SortKeys int `json:"sort_keys"`
	// Batch is the number of records of a MultiGet, MultiPut, Scan or TableScan.
	Batch int `json:"batch"`
}

// minKeySize holds the digits of the largest record number that Validate accepts; counters have a letter in front.
const (
	minKeySize = 10
	maxRecords = 9_999_999_999
	maxSize    = 1 << 20
	sortKeyLen = 8
	maxBatch   = 10_000
)

// Validate says what is wrong with the workload, or nil. SortKeys and Batch of 0 become 1.
func (w *Workload) Validate() error {
	w.SortKeys, w.Batch = max(w.SortKeys, 1), max(w.Batch, 1)
	switch {
	case w.Records < 1 || w.Records > maxRecords:
		return fmt.Errorf("%d records: want 1 to %d", w.Records, maxRecords)
	case w.KeySize < minKeySize || w.KeySize > math.MaxUint16-1:
		return fmt.Errorf("keys of %d bytes: want %d to %d", w.KeySize, minKeySize, math.MaxUint16-1)
	case w.ValueSize < 0 || w.ValueSize > maxSize:
		return fmt.Errorf("values of %d bytes: want 0 to %d", w.ValueSize, maxSize)
	case !(w.ReadShare >= 0 && w.ReadShare <= 1):
		return fmt.Errorf("read share %v: want 0 to 1", w.ReadShare)
	case !slices.Contains(distributions, w.Distribution):
		return fmt.Errorf("distribution %q: want one of %v", w.Distribution, distributions)
	case w.SortKeys > 99_999_999 || uint64(w.SortKeys) > w.Records:
		return fmt.Errorf("%d sort keys per hash key: want at most one per record", w.SortKeys)
	case w.Batch > maxBatch:
		return fmt.Errorf("batches of %d records: want at most %d", w.Batch, maxBatch)
	}
	return w.validateMix()
}

func (w *Workload) validateMix() error {
	sum := 0.0
	for k, share := range w.Mix {
		if k >= kinds || !(share >= 0) || math.IsInf(share, 0) {
			return fmt.Errorf("share %v of %d is not one", share, k)
		}
		if share == 0 {
			continue
		}
		sum += share
		switch {
		case (k == MultiGet || k == MultiPut || k == Scan) && w.SortKeys < w.Batch:
			return fmt.Errorf("%v of %d records needs as many sort keys per hash key, there are %d", k, w.Batch, w.SortKeys)
		case k == Incr && w.KeySize <= minKeySize:
			return fmt.Errorf("counters need keys of more than %d bytes", minKeySize)
		}
	}
	if len(w.Mix) > 0 && sum == 0 {
		return fmt.Errorf("a mix without a share")
	}
	return nil
}

// shares returns the cumulated shares of the kinds, the last being 1.
func (w *Workload) shares() (out [kinds]float64) {
	mix := w.Mix
	if len(mix) == 0 {
		mix = Mix{Get: w.ReadShare, Put: 1 - w.ReadShare}
	}
	sum := 0.0
	for k := range out {
		sum += mix[Kind(k)]
		out[k] = sum
	}
	for k := range out {
		out[k] /= sum
	}
	return out
}

// String says what is done in a few words.
func (w *Workload) String() string {
	mix := w.Mix
	if len(mix) == 0 {
		mix = Mix{Get: w.ReadShare, Put: 1 - w.ReadShare}
	}
	var parts []string
	for k := range kinds {
		if share := mix[k]; share > 0 {
			parts = append(parts, fmt.Sprintf("%v %.3g%%", k, share*100/sumOf(mix)))
		}
	}
	if w.Batch > 1 {
		parts = append(parts, fmt.Sprintf("in batches of %d", w.Batch))
	}
	return strings.Join(parts, " ")
}

func sumOf(m Mix) (sum float64) {
	for _, share := range m {
		sum += share
	}
	return sum
}

// Presets are workloads by name. Sizes and numbers of records are the caller's, where a preset does not say.
var presets = map[string]func(w *Workload){
	// YCSB's core workloads, with its default distributions (github.com/brianfrankcooper/YCSB, workloads/).
	"ycsb-a": func(w *Workload) { w.Mix, w.Distribution = Mix{Get: 0.5, Put: 0.5}, Zipfian },
	"ycsb-b": func(w *Workload) { w.Mix, w.Distribution = Mix{Get: 0.95, Put: 0.05}, Zipfian },
	"ycsb-c": func(w *Workload) { w.Mix, w.Distribution = Mix{Get: 1}, Zipfian },
	"ycsb-d": func(w *Workload) { w.Mix, w.Distribution = Mix{Get: 0.95, Insert: 0.05}, Latest },
	"ycsb-e": func(w *Workload) {
		w.Mix, w.Distribution = Mix{Scan: 0.95, Insert: 0.05}, Zipfian
		w.SortKeys, w.Batch = max(w.SortKeys, 100), 100
	},
	"ycsb-f":    func(w *Workload) { w.Mix, w.Distribution = Mix{Get: 0.5, Modify: 0.5}, Zipfian },
	"get":       func(w *Workload) { w.Mix = Mix{Get: 1} },
	"put":       func(w *Workload) { w.Mix = Mix{Put: 1} },
	"mixed":     func(w *Workload) { w.Mix = Mix{Get: 0.5, Put: 0.5} },
	"multi-get": func(w *Workload) { w.Mix = Mix{MultiGet: 1}; w.batched(10) },
	"multi-put": func(w *Workload) { w.Mix = Mix{MultiPut: 1}; w.batched(10) },
	"scan":      func(w *Workload) { w.Mix = Mix{Scan: 1}; w.batched(100) },
	"full-scan": func(w *Workload) {
		w.Mix = Mix{TableScan: 1}
		if w.Batch <= 1 {
			w.Batch = scanBatch
		}
	},
	"incr":    func(w *Workload) { w.Mix = Mix{Incr: 1} },
	"cas":     func(w *Workload) { w.Mix = Mix{CheckAndSet: 1} },
	"bulk":    func(w *Workload) { w.Mix, w.Distribution = Mix{MultiPut: 1}, Sequential; w.batched(100) },
	"hot-get": func(w *Workload) { w.Mix, w.Distribution = Mix{Get: 1}, Hot },
	"hot-put": func(w *Workload) { w.Mix, w.Distribution = Mix{Put: 1}, Hot },
	// The table that Apache Pegasus publishes: single records of 1 KiB, zipfian, reads to writes 0:1, 1:3, 1:1, 3:1, 1:0.
	"published-0-1": func(w *Workload) { w.published(0, 1) },
	"published-1-3": func(w *Workload) { w.published(1, 3) },
	"published-1-1": func(w *Workload) { w.published(1, 1) },
	"published-3-1": func(w *Workload) { w.published(3, 1) },
	"published-1-0": func(w *Workload) { w.published(1, 0) },
}

func (w *Workload) batched(n int) {
	if w.Batch <= 1 {
		w.Batch = n
	}
	w.SortKeys = max(w.SortKeys, w.Batch)
}

func (w *Workload) published(reads, writes float64) {
	w.Mix, w.Distribution, w.ValueSize = Mix{Get: reads, Put: writes}, Zipfian, 1024
}

// Preset changes w into the workload with a name.
func (w *Workload) Preset(name string) error {
	f := presets[name]
	if f == nil {
		return fmt.Errorf("no workload is called %q; there are %s", name, strings.Join(PresetNames(), ", "))
	}
	f(w)
	return nil
}

// PresetNames lists the names that Preset knows.
func PresetNames() []string {
	var names []string
	for name := range presets {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// appendKey appends the hash key of a record: its number in decimal, padded with zeros to size.
func appendKey(dst []byte, record uint64, size int) []byte {
	at := len(dst)
	for range size {
		dst = append(dst, '0')
	}
	for i := len(dst) - 1; i >= at && record > 0; i-- {
		dst[i] = byte('0' + record%10)
		record /= 10
	}
	return dst
}

// key writes hash and sort key of a record into the operation.
func (w *Workload) key(op *Op, record uint64) {
	if w.SortKeys == 1 {
		op.HashKey = appendKey(op.HashKey[:0], record, w.KeySize)
		op.SortKey = op.SortKey[:0]
		return
	}
	per := uint64(w.SortKeys)
	op.HashKey = appendKey(op.HashKey[:0], record/per, w.KeySize)
	op.SortKey = appendKey(op.SortKey[:0], record%per, sortKeyLen)
}

// place makes op the operation of a kind on a record, with a value for those that write.
func (w *Workload) place(op *Op, kind Kind, record uint64, r *rand.Rand, values []byte) {
	op.Kind, op.N = kind, 1
	w.key(op, record)
	switch kind {
	case MultiGet, MultiPut, Scan:
		op.N = w.Batch
		if kind == Scan {
			op.N = 1 + r.IntN(w.Batch)
		}
		op.First = record % uint64(w.SortKeys)
		// A batch does not go beyond its hash key.
		op.First = min(op.First, uint64(w.SortKeys-op.N))
		op.SortKey = appendKey(op.SortKey[:0], op.First, sortKeyLen)
	case TableScan:
		op.N = w.Batch
	case Incr:
		op.HashKey[0] = 'c'
	}
	at := 0
	if span := len(values) - w.ValueSize*op.N; span > 0 {
		at = r.IntN(span)
	}
	op.Values, op.ValueSize = values[at:], w.ValueSize
}
