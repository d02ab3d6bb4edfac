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

func TestMetamorphic(t *testing.T) {
	for seed := range uint64(20) {
		enginetest.Metamorphic(t, seed, 300, func(dir string) (engine.Store, error) { return mem.Open(dir, mem.Options{}) })
	}
}
