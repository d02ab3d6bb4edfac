package golden

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// threadHashFactor is how Apache clients derive client_thread_hash from a gpid: app_id*7919 + partition index.
const threadHashFactor = 7919

// expireEpoch is the unix time at which Pegasus' expire_ts counting starts, 2016-01-01 UTC.
const expireEpoch = 1451606400

// PatchKind says what a patched integer means.
type PatchKind string

// The kinds of patches in the recordings.
const (
	PatchAppID      PatchKind = "app_id"
	PatchThreadHash PatchKind = "thread_hash"
	PatchGPID       PatchKind = "gpid"
	PatchExpireTS   PatchKind = "expire_ts"
	PatchUnixTS     PatchKind = "unix_ts"
	PatchUnixUS     PatchKind = "unix_us"
	PatchContextID  PatchKind = "context_id"
)

// Patch is a fixed-width integer in a request frame that a replay rewrites before it sends.
type Patch struct {
	Offset int
	Size   int // 4 or 8 bytes
	Little bool
	Kind   PatchKind
	Table  string // app_id, thread_hash, gpid
	Part   int32  // thread_hash, gpid
	Delta  int64  // seconds from now: expire_ts, unix_ts, unix_us
	Step   int    // context_id: the step of this case that opened the scan
}

// UnmarshalJSON reads the notation of the recordings, OFFSET:SIZE:KIND:ARGUMENTS.
func (p *Patch) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return err
	}
	parsed, err := ParsePatch(text)
	*p = parsed
	return err
}

// ParsePatch reads OFFSET:SIZE:KIND:ARGUMENTS, where SIZE is 4 or 8 with the suffix le for little endian.
func ParsePatch(text string) (Patch, error) {
	bad := func() (Patch, error) { return Patch{}, fmt.Errorf("golden: bad patch %q", text) }
	parts := strings.Split(text, ":")
	if len(parts) < 4 {
		return bad()
	}
	size, little := strings.CutSuffix(parts[1], "le")
	p := Patch{Little: little, Kind: PatchKind(parts[2])}
	var errs [3]error
	p.Offset, errs[0] = strconv.Atoi(parts[0])
	p.Size, errs[1] = strconv.Atoi(size)
	want := 4
	switch p.Kind {
	case PatchAppID:
		p.Table = parts[3]
	case PatchThreadHash, PatchGPID:
		if want = 5; len(parts) == want {
			var part int64
			part, errs[2] = strconv.ParseInt(parts[4], 10, 32)
			p.Table, p.Part = parts[3], int32(part)
		}
	case PatchExpireTS, PatchUnixTS, PatchUnixUS:
		p.Delta, errs[2] = strconv.ParseInt(parts[3], 10, 64)
	case PatchContextID:
		p.Step, errs[2] = strconv.Atoi(parts[3])
	default:
		return bad()
	}
	for _, err := range errs {
		if err != nil {
			return bad()
		}
	}
	if len(parts) != want || p.Offset < 0 || p.Size != 4 && p.Size != 8 {
		return bad()
	}
	return p, nil
}

// Resolver tells what a replay knows and the recording cannot.
type Resolver interface {
	// AppID returns the app id of a table by its label.
	AppID(table string) (int32, error)
	// ContextID returns the scan context id that step of the running case returned, 0 when it returned none.
	ContextID(step int) int64
}

// Apply rewrites the patched places of frame in place. now is the time of sending, one for a step or a group.
func Apply(frame []byte, patches []Patch, now time.Time, r Resolver) error {
	for _, p := range patches {
		if p.Offset+p.Size > len(frame) {
			return fmt.Errorf("golden: patch %s at %d..%d is outside the frame of %d bytes", p.Kind, p.Offset, p.Offset+p.Size, len(frame))
		}
		v, err := p.value(now, r)
		if err != nil {
			return err
		}
		at := frame[p.Offset : p.Offset+p.Size]
		var order binary.ByteOrder = binary.BigEndian
		if p.Little {
			order = binary.LittleEndian
		}
		if p.Size == 4 {
			order.PutUint32(at, uint32(v))
		} else {
			order.PutUint64(at, uint64(v))
		}
	}
	return nil
}

func (p *Patch) value(now time.Time, r Resolver) (int64, error) {
	switch p.Kind {
	case PatchExpireTS:
		return now.Unix() - expireEpoch + p.Delta, nil
	case PatchUnixTS:
		return now.Unix() + p.Delta, nil
	case PatchUnixUS:
		return (now.Unix() + p.Delta) * 1e6, nil
	case PatchContextID:
		return r.ContextID(p.Step), nil
	}
	app, err := r.AppID(p.Table)
	if err != nil {
		return 0, err
	}
	switch p.Kind {
	case PatchAppID:
		return int64(app), nil
	case PatchThreadHash:
		return int64(app)*threadHashFactor + int64(p.Part), nil
	case PatchGPID:
		return int64(p.Part)<<32 | int64(uint32(app)), nil
	}
	return 0, fmt.Errorf("golden: unknown patch kind %q", p.Kind)
}
