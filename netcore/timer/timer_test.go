package timer

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestOrderAndReentrancy(t *testing.T) {
	var h Heap
	var got []string
	add := func(at int64, name string) ID { return h.At(at, func() { got = append(got, name) }) }
	add(30, "c")
	add(10, "a1")
	add(10, "a2")
	gone := add(20, "never")
	h.At(10, func() {
		got = append(got, "a3")
		if !h.Stop(gone) {
			t.Error("a waiting timer cannot be stopped")
		}
		add(10, "late") // due, but scheduled during the call
	})
	if at, ok := h.Next(); !ok || at != 10 {
		t.Fatalf("next %d %v", at, ok)
	}
	if n := h.Advance(9); n != 0 {
		t.Fatalf("%d fired too early", n)
	}
	if n := h.Advance(25); n != 3 {
		t.Fatalf("%d fired, got %v", n, got)
	}
	h.Advance(25)
	h.Advance(30)
	if want := []string{"a1", "a2", "a3", "late", "c"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if h.Stop(gone) || h.Stop(ID{}) || h.Len() != 0 {
		t.Fatal("an empty heap stops something")
	}
}

// An id of a timer that is gone never stops the one that reuses its slot.
func TestStaleID(t *testing.T) {
	var h Heap
	old := h.At(1, func() {})
	h.Advance(1)
	fired := false
	h.At(2, func() { fired = true })
	if h.Stop(old) {
		t.Fatal("a stale id stopped somebody else's timer")
	}
	if h.Advance(2); !fired {
		t.Fatal("did not fire")
	}
}

// The heap against a list that is sorted every time.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type ref struct {
			at  int64
			n   int
			id  ID
			use bool
		}
		var h Heap
		var model []ref
		var got []int
		now := int64(0)
		for i := range rapid.IntRange(1, 120).Draw(t, "ops") {
			switch rapid.IntRange(0, 3).Draw(t, "op") {
			case 0, 1:
				at := now + rapid.Int64Range(-3, 20).Draw(t, "d")
				model = append(model, ref{at: at, n: i, id: h.At(at, func() { got = append(got, i) }), use: true})
			case 2:
				if len(model) > 0 {
					k := rapid.IntRange(0, len(model)-1).Draw(t, "k")
					if h.Stop(model[k].id) != model[k].use {
						t.Fatalf("stop of %d: want %v", model[k].n, model[k].use)
					}
					model[k].use = false
				}
			case 3:
				now += rapid.Int64Range(0, 10).Draw(t, "step")
				got = nil
				h.Advance(now)
				var due []ref
				for k := range model {
					if model[k].use && model[k].at <= now {
						due = append(due, model[k])
						model[k].use = false
					}
				}
				slices.SortStableFunc(due, func(a, b ref) int { return int(a.at - b.at) })
				var want []int
				for _, d := range due {
					want = append(want, d.n)
				}
				if !slices.Equal(got, want) {
					t.Fatalf("at %d fired %v, want %v", now, got, want)
				}
			}
			live := 0
			for _, m := range model {
				if m.use {
					live++
				}
			}
			if h.Len() != live {
				t.Fatalf("len %d, want %d", h.Len(), live)
			}
		}
	})
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	var h Heap
	fn := func() {}
	now := int64(0)
	for i := range int64(500) {
		h.At(1<<60+i, fn)
	}
	round := func() {
		for i := range int64(64) {
			id := h.At(now+i%7, fn)
			if i%2 == 0 {
				h.Stop(id)
			}
		}
		now += 10
		h.Advance(now)
	}
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Fatalf("%v allocations per round", n)
	}
}

func BenchmarkAtStop(b *testing.B) {
	b.ReportAllocs()
	var h Heap
	fn := func() {}
	for i := range int64(1000) {
		h.At(i*1000, fn)
	}
	i := int64(0)
	for b.Loop() {
		i += 7919
		h.Stop(h.At(i%1_000_000, fn))
	}
}
