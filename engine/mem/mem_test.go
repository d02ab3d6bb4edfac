package mem_test

import (
	"testing"

	"pegasus/engine"
	"pegasus/engine/enginetest"
	"pegasus/engine/mem"
)

func open(t testing.TB, dir string) engine.Store {
	t.Helper()
	s, err := mem.Open(dir, mem.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) { enginetest.Run(t, open) }
