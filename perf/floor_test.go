package perf

import (
	"context"
	"os/exec"
	"testing"
	"time"
)

// The programs build, and what they print is taken apart. The figures say nothing here.
func TestFloor(t *testing.T) {
	f, err := MeasureFloor(context.Background(), FloorOptions{
		Dir: t.TempDir(), Conns: 2, Depth: 8, Duration: 100 * time.Millisecond, Work: small(1), Partitions: 2, Batch: 8, CacheMiB: 8,
	})
	if err != nil {
		t.Fatal(err)
	}
	if f.Get <= 0 || f.Put <= 0 || f.Log <= 0 {
		t.Errorf("%+v", f)
	}
	limit := Floor{GetEcho: 1, SetEcho: 2, Get: 3, Put: 4, Log: 10}
	if limit.GetLimit() != 4 || limit.SetLimit(3, 0.5) != 12+5+6 {
		t.Errorf("limits %v and %v", limit.GetLimit(), limit.SetLimit(3, 0.5))
	}
}

func TestFloorCompilerErrors(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Fatal("no C compiler, which cgo needs as well")
	}
	if _, err := compile(context.Background(), t.TempDir(), "bad", ".c", []byte("int main(void) { return x; }"), "gcc", nil, nil); err == nil {
		t.Error("a program with an error is compiled")
	}
}
