package onebox

import (
	"context"
	"os"
)

// TB is what Start needs of *testing.T and *testing.B.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(func())
	Failed() bool
	TempDir() string
}

// EnvBin names the folder whose daemons tests run, in place of freshly built ones: a release build, say.
const EnvBin = "PEGASUS_BIN"

// Start runs a cluster for a test and stops it when the test ends; the daemons do not outlive the process. Without Dir
// it lives in a temporary folder, without Bin its daemons are built. Ports are free ones whatever o says, so tests may
// run side by side. If the test failed, the ends of the daemons' logs are printed.
func Start(t TB, o Options) *Cluster {
	t.Helper()
	o.FreePorts, o.DieWithParent = true, true
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Bin == "" {
		o.Bin = os.Getenv(EnvBin)
	}
	if o.Bin == "" {
		bin, err := Build()
		if err != nil {
			t.Fatalf("%v", err)
		}
		o.Bin = bin
	}
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	c, err := Up(ctx, o)
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range c.Nodes {
				t.Logf("the end of the log of %s:\n%s", n.Name, n.lastWords())
			}
		}
		if err := c.Stop(); err != nil {
			t.Errorf("%v", err)
		}
		c.Release()
	})
	return c
}
