package rocks_test

import (
	"os"
	"testing"

	"pegasus/engine"
	"pegasus/engine/enginetest"
	"pegasus/engine/rocks"
)

// shared serves all tests that do not look at the cache.
var shared *rocks.Shared

func TestMain(m *testing.M) {
	var err error
	if shared, err = rocks.NewShared(rocks.SharedOptions{}); err != nil {
		panic(err)
	}
	code := m.Run()
	shared.Close()
	os.Exit(code)
}

func openWith(o rocks.Options) enginetest.Opener {
	return func(t testing.TB, dir string) engine.Store {
		t.Helper()
		s, err := rocks.Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestConformance(t *testing.T) {
	for name, o := range map[string]rocks.Options{
		"default":  {},
		"noFilter": {BloomBits: -1, NoPrefixFilter: true, Compression: "none"},
		"tiny":     {WriteBufferBytes: 64 << 10, BlockBytes: 512, TargetFileBytes: 64 << 10, LevelBaseBytes: 128 << 10},
	} {
		o.Shared = shared
		t.Run(name, func(t *testing.T) { enginetest.Run(t, openWith(o)) })
	}
}
