package pacsim

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"
)

// opKind is what a client asks for.
type opKind uint8

const (
	opGet opKind = iota
	opSet
	opDel
	opIncr // adds arg, answers the sum; an absent value counts as 0
	opCAS  // stores arg if the value is expect, answers the value it found
	opKinds
)

var opNames = [opKinds]string{"get", "set", "del", "incr", "cas"}

// cell is the value of a key.
type cell struct {
	present bool
	value   int64
}

// op is one operation of a client as it looked from there.
type op struct {
	kind   opKind
	key    int
	arg    int64
	expect cell
	client int

	called, returned int64 // true time
	done             bool  // an answer came; else it may or may not have happened
	result           cell  // get: the value; incr: the sum; cas: the value found
}

// history collects what clients saw, per key. A key gets a limited number of operations, maybe-applied ones above all, because the
// price of the check grows with them; clients then go on with a new key.
type history struct {
	keys  [][]op
	maybe []int
}

const (
	opsPerKey   = 120
	maybePerKey = 8
)

func (h *history) full(key int) bool {
	return key < len(h.keys) && (len(h.keys[key]) >= opsPerKey || h.maybe[key] >= maybePerKey)
}

func (h *history) add(o op) {
	for len(h.keys) <= o.key {
		h.keys = append(h.keys, nil)
		h.maybe = append(h.maybe, 0)
	}
	h.keys[o.key] = append(h.keys[o.key], o)
	if !o.done {
		h.maybe[o.key]++
	}
}

// next is what an operation does to a cell; ok is false when it cannot have answered what it did.
func (o *op) next(c cell) (after cell, ok bool) {
	switch o.kind {
	case opGet:
		return c, !o.done || c == o.result
	case opSet:
		return cell{true, o.arg}, true
	case opDel:
		return cell{}, true
	case opIncr:
		sum := cell{true, c.value + o.arg}
		return sum, !o.done || sum == o.result
	case opCAS:
		if o.done && c != o.result {
			return c, false
		}
		if c == o.expect {
			return cell{true, o.arg}, true
		}
		return c, true
	}
	return c, false
}

var cellModel = porcupine.Model{
	Init: func() any { return cell{} },
	Step: func(state, input, _ any) (bool, any) {
		after, ok := input.(*op).next(state.(cell))
		return ok, after
	},
	Equal: func(a, b any) bool { return a.(cell) == b.(cell) },
}

// linearPatience bounds the check of one key in wall time. Past it the key counts as unchecked, which the result reports.
const linearPatience = 2 * time.Second

// check asks porcupine about every key. It returns the first key that is not linearizable, -1 when all are, and how many could
// not be decided in time.
func (h *history) check() (bad, undecided int) {
	for key, ops := range h.keys {
		var ask []porcupine.Operation
		for i := range ops {
			o := &ops[i]
			if !o.done && (o.kind == opGet || o.kind == opSet && !h.seen(key, o.arg)) {
				// An unanswered read says nothing, and an unanswered write whose value nobody ever saw may as well not have
				// happened: values are unique.
				continue
			}
			returned := o.returned
			if !o.done {
				returned = math.MaxInt64
			}
			ask = append(ask, porcupine.Operation{ClientId: o.client, Input: o, Call: o.called, Output: o, Return: returned})
		}
		switch porcupine.CheckOperationsTimeout(cellModel, ask, linearPatience) {
		case porcupine.Illegal:
			return key, undecided
		case porcupine.Unknown:
			undecided++
		}
	}
	return -1, undecided
}

// seen tells whether an answer shows a value that stems from a write of v. Sums count from the last write, so they are taken for
// a sign of any write below them within reach of the increments.
func (h *history) seen(key int, v int64) bool {
	for i := range h.keys[key] {
		o := &h.keys[key][i]
		if o.done && o.result.present && o.result.value >= v && o.result.value < v+valueStep {
			return true
		}
	}
	return false
}

// valueStep separates the values of any two writes, so that increments never make one look like another.
const valueStep = 1 << 20

// String tells the operation.
func (o *op) String() string {
	s := fmt.Sprintf("client %d %s key %d", o.client, opNames[o.kind], o.key)
	switch o.kind {
	case opSet, opIncr:
		s += fmt.Sprintf(" %d", o.arg)
	case opCAS:
		s += fmt.Sprintf(" %v -> %d", o.expect, o.arg)
	}
	at := fmt.Sprintf("  [%.6f, ", float64(o.called)/float64(second))
	if !o.done {
		return s + at + "?]"
	}
	return s + fmt.Sprintf(" = %v", o.result) + at + fmt.Sprintf("%.6f]", float64(o.returned)/float64(second))
}
