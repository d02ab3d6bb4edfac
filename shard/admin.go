package shard

import (
	"fmt"
	"runtime"
	"sort"
	"strings"

	"pegasus/engine/rocks"
	"pegasus/netcore/proto"
)

// Version and Commit are what the node calls itself in /version and in the remote command version. The build sets them.
var (
	Version = "dev"
	Commit  = "unknown"
)

// remoteCommands are the commands of RPC_CLI_CLI_CALL with their one-line help (names: spec admin 18).
var remoteCommands = map[string]struct {
	help string
	run  func(n *Node, args []string) string
}{
	"version": {"version - the version and build of this server", func(n *Node, _ []string) string { return n.version() }},
	"server-info": {"server-info - version and start time of this server", func(n *Node, _ []string) string {
		return n.version() + ", started at " + n.started.UTC().Format("2006-01-02 15:04:05")
	}},
	"slow-log": {"slow-log [count] - the requests that were slow, and where their time went", (*Node).slowText},
	"trace": {"trace get|ttl|set|remove|incr app_id.partition hash_key sort_key [value] - performs one request and tells where its time went",
		func(*Node, []string) string { return errTraceUsage.Error() }}, // served by startTrace
	"server-stat": {"server-stat - what this server has done since it started", func(n *Node, _ []string) string {
		s := n.Stats()
		return fmt.Sprintf("gets: %d\nrange_reads: %d\nwrites: %d\nmutations: %d\nforwarded_frames: %d\ncold_reads: %d\n",
			s.Gets, s.Ranges, s.Writes, s.Mutations, s.Forwarded, s.ColdReads)
	}},
}

// Stats are the sums over all shards, at most a second old. It may be called from any goroutine.
func (n *Node) Stats() Stats {
	var sum Stats
	for _, sh := range n.shards {
		if s := sh.published.Load(); s != nil {
			sum.Gets += s.Gets
			sum.Ranges += s.Ranges
			sum.Writes += s.Writes
			sum.Mutations += s.Mutations
			sum.Forwarded += s.Forwarded
			sum.ColdReads += s.ColdReads
			sum.LogWrites += s.LogWrites
			sum.LogSyncs += s.LogSyncs
			sum.LogBytes += s.LogBytes
		}
	}
	return sum
}

// Counters are the numbers of Stats by name, for the debug port. It may be called from any goroutine.
func (n *Node) Counters() map[string]uint64 {
	s := n.Stats()
	return map[string]uint64{
		"gets": s.Gets, "range_reads": s.Ranges, "writes": s.Writes, "mutations": s.Mutations,
		"forwarded_frames": s.Forwarded, "cold_reads": s.ColdReads,
		"log_writes": s.LogWrites, "log_syncs": s.LogSyncs, "log_bytes": s.LogBytes,
	}
}

// command runs a remote command and returns its answer as the text that operators see.
func (n *Node) command(c *proto.Command) string {
	if c.Cmd == "help" {
		return commandHelp(c.Arguments)
	}
	cmd, ok := remoteCommands[c.Cmd]
	if !ok {
		return fmt.Sprintf("unknown command '%s'", c.Cmd)
	}
	return cmd.run(n, c.Arguments)
}

func commandHelp(args []string) string {
	lines := make([]string, 0, len(remoteCommands)+1)
	for name, c := range remoteCommands {
		if len(args) == 0 || args[0] == name {
			lines = append(lines, c.help)
		}
	}
	if len(args) > 0 && len(lines) == 0 {
		return fmt.Sprintf("cannot find command '%s'", args[0])
	}
	if len(args) == 0 {
		lines = append(lines, "help [command] - this list, or the help of one command")
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n") + "\n"
}

func (n *Node) version() string {
	return fmt.Sprintf("Pegasus Server %s (%s, rocksdb %s)", Version, runtime.Version(), rocks.BuildProfile())
}
