package rrdb

import (
	"bytes"

	"pegasus/netcore/proto"
)

// filter is a condition on a hash key or a sort key. The zero value lets everything pass.
type filter struct {
	kind    proto.FilterType
	pattern []byte
}

func (f *filter) match(key []byte) bool {
	if len(f.pattern) == 0 {
		return true
	}
	switch f.kind {
	case proto.FilterAnywhere:
		return bytes.Contains(key, f.pattern)
	case proto.FilterPrefix:
		return bytes.HasPrefix(key, f.pattern)
	case proto.FilterPostfix:
		return bytes.HasSuffix(key, f.pattern)
	}
	return true
}

func (f *filter) prefix() bool { return f.kind == proto.FilterPrefix && len(f.pattern) > 0 }
