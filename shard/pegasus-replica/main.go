// Pegasus-replica is the replica server: it serves the partitions that the meta group assigns to it.
//
//	pegasus-replica --config FILE [--check-config]
//	pegasus-replica check|local_get|sst_dump|mlog_dump ...    look at the files of a server, see tools.go
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"pegasus/conf"
	"pegasus/netcore/debugport"
	"pegasus/netcore/timerslack"
	"pegasus/shard"
)

// stopTimeout bounds a clean stop; what it cuts short is replayed from the log at the next start.
const stopTimeout = 30 * time.Second

func main() {
	if isTool(os.Args) {
		toolMain(os.Args)
	}
	timerslack.Restart(timerslack.Data)
	config := flag.String("config", "", "configuration file (TOML)")
	check := flag.Bool("check-config", false, "check the configuration file and exit")
	flag.Parse()
	if err := run(*config, *check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(config string, check bool) error {
	if config == "" {
		return errors.New("missing --config FILE")
	}
	c, err := conf.LoadReplica(config)
	if err != nil {
		return err
	}
	if check {
		fmt.Println(config + ": ok")
		return nil
	}
	logger, closeLog, err := c.Logging.Open()
	if err != nil {
		return err
	}
	defer closeLog()
	logger.Info("effective configuration", zap.String("file", config), zap.String("toml", c.String()))

	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	fatal := make(chan error, 1)
	opts, err := options(c)
	if err != nil {
		return err
	}
	opts.Logger, opts.ConfigText = logger, c.String()
	opts.OnFatal = func(err error) {
		select {
		case fatal <- err:
		default:
		}
	}
	var running atomic.Pointer[shard.Node]
	if c.Debug.Listen != "" {
		port, err := debugport.Start(c.Debug.Listen, func() map[string]uint64 {
			if n := running.Load(); n != nil {
				return n.Counters()
			}
			return map[string]uint64{}
		})
		if err != nil {
			return err
		}
		defer port.Close()
	}
	// A thread in a system call keeps its processor until somebody needs it and comes to take it, which takes time. Loops and log
	// lanes are nearly always in one, so there is one for each, and some for lanes, garbage collection and everything else.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), 2*opts.Shards+4))
	node, err := shard.Start(opts)
	if err != nil {
		return err
	}
	running.Store(node)
	select {
	case err := <-fatal:
		return fmt.Errorf("event loop ended: %w", err)
	case <-ctx.Done():
	}
	logger.Info("stopping")
	stop, done := context.WithTimeout(context.Background(), stopTimeout)
	defer done()
	return node.Stop(stop)
}
