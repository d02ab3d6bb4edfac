package rrdb

import (
	"bytes"
	"cmp"

	"pegasus/netcore/proto"
)

// check evaluates the condition of a CHECK_AND_SET or CHECK_AND_MUTATE: StorageOK when it holds, StorageTryAgain when it
// does not, StorageInvalidArgument when numbers are compared and one side is none. t is valid.
func check(t proto.CheckType, operand []byte, exist bool, value []byte) proto.StorageStatus {
	holds := false
	switch t {
	case proto.CheckNone:
		holds = true
	case proto.CheckNotExist:
		holds = !exist
	case proto.CheckNotExistOrEmpty:
		holds = !exist || len(value) == 0
	case proto.CheckExist:
		holds = exist
	case proto.CheckNotEmpty:
		holds = exist && len(value) > 0
	case proto.CheckMatchAnywhere:
		holds = exist && bytes.Contains(value, operand)
	case proto.CheckMatchPrefix:
		holds = exist && bytes.HasPrefix(value, operand)
	case proto.CheckMatchPostfix:
		holds = exist && bytes.HasSuffix(value, operand)
	default:
		if !exist {
			break
		}
		if t <= proto.CheckBytesGreater {
			holds = ordered(bytes.Compare(value, operand), t-proto.CheckBytesLess)
			break
		}
		v, ok1 := ParseInt(value)
		o, ok2 := ParseInt(operand)
		if !ok1 || !ok2 {
			return proto.StorageInvalidArgument
		}
		holds = ordered(cmp.Compare(v, o), t-proto.CheckIntLess)
	}
	if holds {
		return proto.StorageOK
	}
	return proto.StorageTryAgain
}

// ordered tells whether a comparison came out as asked: relation counts <, <=, ==, >=, > from 0.
func ordered(c int, relation proto.CheckType) bool {
	switch relation {
	case 0:
		return c < 0
	case 1:
		return c <= 0
	case 2:
		return c == 0
	case 3:
		return c >= 0
	}
	return c > 0
}
