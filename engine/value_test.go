package engine

import (
	"bytes"
	"errors"
	"testing"
)

func TestParseValue(t *testing.T) {
	for _, c := range []struct {
		version DataVersion
		raw     string
		want    Value
		ok      bool
	}{
		{DataV0, "\x00\x00\x00\x07user", Value{Expire: 7, User: []byte("user")}, true},
		{DataV0, "\x00\x00\x00", Value{}, false},
		{DataV1, "\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x01\x00user", Value{Expire: 7, Timetag: 256, User: []byte("user")}, true},
		// An expiry with the top bit set is no version mark.
		{DataV1, "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", Value{Expire: 1 << 31, User: []byte{}}, true},
		{DataV1, "\x82\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00v", Value{Expire: 0x82000000, User: []byte("v")}, true},
		{DataV1, "\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x01", Value{}, false},
		{DataV2, "\x82\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x01\x00user", Value{Expire: 7, Timetag: 256, User: []byte("user")}, true},
		{DataV2, "\x02\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x01\x00user", Value{}, false},
		{DataV2, "\x82\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x01", Value{}, false},
		{3, "\x82\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x01\x00user", Value{}, false},
	} {
		v, err := ParseValue(c.version, []byte(c.raw))
		if c.ok != (err == nil) || v.Expire != c.want.Expire || v.Timetag != c.want.Timetag || !bytes.Equal(v.User, c.want.User) {
			t.Errorf("layout %d of %q: %+v, %v", c.version, c.raw, v, err)
		}
		if err != nil && !(errors.Is(err, ErrBadValue) && errors.Is(err, ErrCorruption)) {
			t.Errorf("error %v is not a bad value", err)
		}
	}
}

func TestTimetag(t *testing.T) {
	const us = int64(1_700_000_000_123_456)
	for _, deleted := range []bool{false, true} {
		tag := Timetag(us, 127, deleted)
		if TimetagTimestamp(tag) != us || TimetagCluster(tag) != 127 || TimetagDeleted(tag) != deleted {
			t.Errorf("tag %x is %d, %d, %v", tag, TimetagTimestamp(tag), TimetagCluster(tag), TimetagDeleted(tag))
		}
	}
}

func TestExpired(t *testing.T) {
	for _, c := range []struct {
		expire, now uint32
		want        bool
	}{{0, 100, false}, {100, 100, true}, {101, 100, false}, {1 << 31, 100, false}} {
		if Expired(c.expire, c.now) != c.want {
			t.Errorf("expiry %d at %d: %v", c.expire, c.now, !c.want)
		}
	}
}

func FuzzParseValue(f *testing.F) {
	f.Add(uint32(1), []byte("\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00user"))
	f.Add(uint32(2), []byte("\x82\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00user"))
	f.Fuzz(func(t *testing.T, version uint32, raw []byte) {
		v, err := ParseValue(DataVersion(version), raw)
		if err != nil {
			return
		}
		if len(v.User) != len(raw)-DataVersion(version).HeaderLen() {
			t.Fatalf("%d bytes of user data in %d", len(v.User), len(raw))
		}
		again := bytes.Clone(raw)
		SetExpire(DataVersion(version), again, 77)
		if w, err := ParseValue(DataVersion(version), again); err != nil || w.Expire != 77 || w.Timetag != v.Timetag || !bytes.Equal(w.User, v.User) {
			t.Fatalf("after SetExpire: %+v, %v", w, err)
		}
	})
}
