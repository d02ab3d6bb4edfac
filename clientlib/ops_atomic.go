package clientlib

import (
	"context"
	"time"

	"pegasus/netcore/proto"
)

// CheckType is a condition on a value.
type CheckType int

// The conditions. Those on bytes and numbers compare the value with the operand: value < operand, and so on.
const (
	CheckTypeNoCheck              = CheckType(proto.CheckNone)
	CheckTypeValueNotExist        = CheckType(proto.CheckNotExist)
	CheckTypeValueNotExistOrEmpty = CheckType(proto.CheckNotExistOrEmpty)
	CheckTypeValueExist           = CheckType(proto.CheckExist)
	CheckTypeValueNotEmpty        = CheckType(proto.CheckNotEmpty)
	CheckTypeMatchAnywhere        = CheckType(proto.CheckMatchAnywhere)
	CheckTypeMatchPrefix          = CheckType(proto.CheckMatchPrefix)
	CheckTypeMatchPostfix         = CheckType(proto.CheckMatchPostfix)
	CheckTypeBytesLess            = CheckType(proto.CheckBytesLess)
	CheckTypeBytesLessOrEqual     = CheckType(proto.CheckBytesLessOrEqual)
	CheckTypeBytesEqual           = CheckType(proto.CheckBytesEqual)
	CheckTypeBytesGreaterOrEqual  = CheckType(proto.CheckBytesGreaterOrEqual)
	CheckTypeBytesGreater         = CheckType(proto.CheckBytesGreater)
	CheckTypeIntLess              = CheckType(proto.CheckIntLess)
	CheckTypeIntLessOrEqual       = CheckType(proto.CheckIntLessOrEqual)
	CheckTypeIntEqual             = CheckType(proto.CheckIntEqual)
	CheckTypeIntGreaterOrEqual    = CheckType(proto.CheckIntGreaterOrEqual)
	CheckTypeIntGreater           = CheckType(proto.CheckIntGreater)
)

// CheckAndSetOptions are the options of CheckAndSet. nil means none.
type CheckAndSetOptions struct {
	SetValueTTLSeconds int  // 0 means that the record does not expire
	ReturnCheckValue   bool // also when the check passes
}

// CheckAndSetResult says what a check found.
type CheckAndSetResult struct {
	SetSucceed         bool   // the check has passed
	CheckValue         []byte // nil when there is none
	CheckValueExist    bool   // counts when CheckValueReturned is true
	CheckValueReturned bool
}

// CheckAndSet writes setSortKey if the record of checkSortKey, which may be the same, meets a condition, atomically. A check
// that fails is no error. It is never repeated when its answer is lost: that is ErrUnknownOutcome. With a Compressor the
// server compares the compressed bytes, so only the checks for existence, and for equality with what Compress gives, make sense.
func (t *Table) CheckAndSet(ctx context.Context, hashKey, checkSortKey []byte, checkType CheckType, checkOperand, setSortKey,
	setValue []byte, o *CheckAndSetOptions) (*CheckAndSetResult, error) {
	p := newPending(proto.CodeCheckAndSet)
	defer p.release()
	c := t.client.opt.Compressor
	if err := t.run(ctx, p, p.encodeCheckAndSet(c, hashKey, checkSortKey, checkType, checkOperand, setSortKey, setValue, o)); err != nil {
		return nil, err
	}
	return p.decodeCheck(c)
}

// Mutation is a change that CheckAndMutate makes.
type Mutation struct {
	SortKey []byte
	Del     bool          // remove the record; otherwise write it
	Value   []byte        // of a record to write
	TTL     time.Duration // of a record to write; 0 means that it does not expire
}

// CheckAndMutateOptions are the options of CheckAndMutate. nil means none.
type CheckAndMutateOptions struct {
	ReturnCheckValue bool // also when the check passes
}

// CheckAndMutateResult says what a check found; MutateSucceed says whether it has passed.
type CheckAndMutateResult struct {
	MutateSucceed      bool
	CheckValue         []byte
	CheckValueExist    bool
	CheckValueReturned bool
}

// CheckAndMutate is CheckAndSet with any number of changes to records of the hash key, all or none of which are made.
func (t *Table) CheckAndMutate(ctx context.Context, hashKey, checkSortKey []byte, checkType CheckType, checkOperand []byte,
	mutations []Mutation, o *CheckAndMutateOptions) (*CheckAndMutateResult, error) {
	p := newPending(proto.CodeCheckAndMutate)
	defer p.release()
	c := t.client.opt.Compressor
	if err := t.run(ctx, p, p.encodeCheckAndMutate(c, hashKey, checkSortKey, checkType, checkOperand, mutations, o)); err != nil {
		return nil, err
	}
	return mutateResult(p.decodeCheck(c))
}

func mutateResult(r *CheckAndSetResult, err error) (*CheckAndMutateResult, error) {
	if err != nil {
		return nil, err
	}
	return &CheckAndMutateResult{r.SetSucceed, r.CheckValue, r.CheckValueExist, r.CheckValueReturned}, nil
}
