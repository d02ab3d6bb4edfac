// Command pegasus-meta is a meta server. It reads a configuration file, runs until SIGTERM or SIGINT and then stops
// cleanly: the leadership is handed over and every answer under way is sent.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"go.uber.org/zap"

	"pegasus/conf"
	"pegasus/metasvc"
	"pegasus/netcore/debugport"
	"pegasus/netcore/loop"
	"pegasus/netcore/timerslack"
)

// version is set by the linker in release builds.
var version = "dev"

func main() {
	timerslack.Restart(timerslack.Control)
	file := flag.String("config", "", "configuration `file`")
	check := flag.Bool("check-config", false, "check the configuration file and exit")
	restore := flag.String("restore", "", "fill the empty data directory from a backup `file` and exit; to be done for every meta of the group")
	flag.Parse()
	if *file == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: pegasus-meta --config FILE [--check-config | --restore FILE]")
		os.Exit(2)
	}
	c, err := conf.LoadMeta(*file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if *check {
		fmt.Printf("%s: good\n", *file)
		return
	}
	if *restore != "" {
		text, err := metasvc.Restore(options(c), *restore)
		if err != nil {
			fmt.Fprintln(os.Stderr, "pegasus-meta:", err)
			os.Exit(1)
		}
		fmt.Println(text)
		return
	}
	if err := run(c); err != nil {
		fmt.Fprintln(os.Stderr, "pegasus-meta:", err)
		os.Exit(1)
	}
}

func run(c *conf.Meta) error {
	log, closeLog, err := c.Logging.Open()
	if err != nil {
		return err
	}
	defer closeLog()
	log.Info("starting", zap.String("version", version), zap.String("commit", commit()), zap.String("config", c.String()))
	if _, err := loop.RaiseFileLimit(); err != nil {
		log.Warn("file limit not raised", zap.Error(err))
	}
	// The port is opened so that others could open it too; another daemon on it must be an error, not a rival.
	if err := loop.CheckPortsFree([]string{c.Node.Listen}); err != nil {
		return err
	}
	raft, err := net.Listen("tcp", c.Node.RaftListen)
	if err != nil {
		return err
	}
	fatal := make(chan error, 1)
	opt := options(c)
	opt.RaftListen, opt.Logger = raft, log
	opt.OnFatal = func(err error) {
		select {
		case fatal <- err:
		default:
		}
	}
	if c.Debug.Listen != "" {
		port, err := debugport.Start(c.Debug.Listen, nil)
		if err != nil {
			return err
		}
		defer port.Close()
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	s, err := metasvc.Start(opt)
	if err != nil {
		return err
	}
	log.Info("serving", zap.String("address", s.Addr()))
	select {
	case sig := <-signals:
		log.Info("stopping", zap.Stringer("signal", sig))
		err = s.Stop()
		log.Info("stopped", zap.Error(err))
		return err
	case err := <-fatal:
		return err
	}
}

// options are the settings of the file.
func options(c *conf.Meta) metasvc.Options {
	opt := metasvc.Options{
		ClusterName: c.ClusterName, Listen: c.Node.Listen, Advertise: c.Node.Advertise, DataDir: c.Node.DataDir, Join: c.Node.Join == "yes",
		Level: metasvc.Levels[c.Cluster.LevelOnStart], MinLiveNodes: c.Cluster.MinLiveNodes, LivePercentage: c.Cluster.LivePercentage,
		MinReplicas: int32(c.Cluster.MinReplicaCount), MaxReplicas: int32(c.Cluster.MaxReplicaCount),
		HoldSeconds: int64(c.Cluster.HoldSecondsForDropped), MinWriteReplicas: int32(c.Cluster.MinWriteReplicas),
		AssignDelay: time.Duration(c.Cluster.AssignDelay), AddsPerNode: c.Cluster.AddsPerNode,
		StaleDelay: time.Duration(c.Cluster.StaleDelay), BalancePeriod: time.Duration(c.Cluster.BalancePeriod),
		Recovering: c.Cluster.Recover == "yes", Grace: time.Duration(c.FailureDetection.Grace), Changes: c.Console.Changes == "yes", Config: c.String(), Version: version,
		Commit: commit(),
	}
	for _, p := range c.Peers {
		opt.Peers = append(opt.Peers, metasvc.Peer{Address: p.Address, Raft: p.Raft})
	}
	return opt
}

// commit is the revision that the program was built from, as far as the build recorded it.
func commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}
