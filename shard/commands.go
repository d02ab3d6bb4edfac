package shard

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"pegasus/netcore/proto"
)

// Remote commands (RPC_CLI_CLI_CALL) are for people and their scripts: a name, arguments, a text as the answer. Names and forms are
// those of Apache Pegasus (spec admin 18) where it has them.

// remoteCommand is one of them. run replies, now or later, with answerText.
type remoteCommand struct {
	about string // what it does, in one line
	usage string // the arguments, behind the name
	run   func(sh *Shard, c *call, args []string)
}

// instant is a command whose answer is there at once.
func instant(answer func(n *Node, args []string) string) func(*Shard, *call, []string) {
	return func(sh *Shard, c *call, args []string) { sh.answerText(c, answer(sh.node, args)) }
}

func (sh *Shard) answerText(c *call, text string) { sh.answer(c, &text) }

// remoteCommands is a function because a command may lead back to the list.
func remoteCommands() map[string]remoteCommand {
	return map[string]remoteCommand{
		"version":     {"the version and build of this server", "", instant(func(n *Node, _ []string) string { return n.version() })},
		"server-info": {"Query server information", "", instant((*Node).infoText)},
		"server-stat": {"what this server has done since it started", "", instant((*Node).statText)},
		"flush-log":   {"Flush log to stderr or file", "", instant((*Node).flushLog)},
		"config-dump": {"the effective configuration, as TOML", "", instant(func(n *Node, _ []string) string { return n.opts.ConfigText })},
		"slow-log":    {"the requests that were slow, and where their time went", "[count]", instant((*Node).slowText)},
		"trace": {"performs one request and tells where its time went",
			traceUsage(), (*Shard).traceCommand},
		"nfs.max_copy_rate_megabytes_per_disk": {"what copying replicas may move per second, both directions together, in MiB; 0 is no limit",
			"[num | DEFAULT]", instant((*Node).copyRate)},
		"replica.deny-client":        {"control if deny client read & write request", "<true|false>", (*Shard).denyClients},
		"replica.kill_partition":     {"Kill partitions by (all, one app, one partition); those of one member are left alone", "[app_id [partition_index]]", (*Shard).killPartitions},
		"replica.query-app-envs":     {"Query app envs on the underlying storage engine", idsUsage, (*Shard).queryAppEnvs},
		"replica.query-compact":      {"Query full compact status on the underlying storage engine", idsUsage, (*Shard).queryCompact},
		"replica.trigger-checkpoint": {"Trigger replicas to do checkpoint by app_id or app_id.partition_id", idsUsage, (*Shard).triggerCheckpoints},
	}
}

const idsUsage = "[id1,id2,...] (where id is 'app_id' or 'app_id.partition_id')"

// command runs a remote command.
func (sh *Shard) command(c *call, cmd *proto.Command) {
	switch cmd.Cmd {
	case "help", "h", "H", "Help":
		sh.answerText(c, commandHelp(cmd.Arguments))
		return
	}
	command, ok := remoteCommands()[cmd.Cmd]
	if !ok {
		sh.answerText(c, fmt.Sprintf("unknown command '%s'", cmd.Cmd))
		return
	}
	command.run(sh, c, cmd.Arguments)
}

func commandHelp(args []string) string {
	all := remoteCommands()
	if len(args) > 0 {
		one, ok := all[args[0]]
		if !ok {
			return fmt.Sprintf("cannot find command '%s'", args[0])
		}
		return fmt.Sprintf("%s - %s\n%s %s\n", args[0], one.about, args[0], one.usage)
	}
	text := "help|h|H|Help - Display help information\n"
	for _, name := range slices.Sorted(maps.Keys(all)) {
		text += name + " - " + all[name].about + "\n"
	}
	return text
}

// jsonText is how commands that set and get a value answer.
func jsonText(fields map[string]any) string {
	b, err := json.MarshalIndent(fields, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (n *Node) infoText([]string) string {
	b, err := json.Marshal(map[string]string{
		"build_type": n.version(), "git_SHA": Commit, "start_time": n.started.Format("2006-01-02 15:04:05"), "version": Version,
	})
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (n *Node) statText([]string) string {
	s := n.Stats()
	return fmt.Sprintf("gets: %d\nrange_reads: %d\nwrites: %d\nmutations: %d\nforwarded_frames: %d\ncold_reads: %d\n",
		s.Gets, s.Ranges, s.Writes, s.Mutations, s.Forwarded, s.ColdReads)
}

// flushLog syncs the daemon's log. Standard error of a terminal or a pipe cannot be synced, which loses nothing.
func (n *Node) flushLog([]string) string {
	_ = n.logger.Sync()
	return "Flush done."
}

// copyRate gets or sets the rate of transfers.
func (n *Node) copyRate(args []string) string {
	const name = "nfs.max_copy_rate_megabytes_per_disk"
	fail := func(format string, args ...any) string {
		return jsonText(map[string]any{"error": "ERR: " + fmt.Sprintf(format, args...)})
	}
	switch {
	case len(args) == 0:
		return jsonText(map[string]any{"error": "ok", name: strconv.FormatInt(n.transferBudget.Stats().Rate>>20, 10)})
	case len(args) > 1:
		return fail("invalid arguments '%s', only one argument is acceptable", strings.Join(args, " "))
	case args[0] == "DEFAULT":
		n.transferBudget.SetRate(n.opts.TransferRate)
		return jsonText(map[string]any{"error": "ok", name: n.opts.TransferRate >> 20})
	}
	mb, err := strconv.ParseInt(args[0], 10, 32)
	if err != nil || mb < 0 {
		return fail("invalid argument '%s', the value is not acceptable", args[0])
	}
	n.transferBudget.SetRate(mb << 20)
	return jsonText(map[string]any{"error": "ok"})
}

// traceCommand traces one request; see trace.go.
func (sh *Shard) traceCommand(c *call, args []string) {
	if err := sh.startTrace(c, args); err != nil {
		sh.answerText(c, "ERR: "+err.Error()+"\n")
	}
}

// denyClients makes the whole server silent to clients, or ends that.
func (sh *Shard) denyClients(c *call, args []string) {
	deny := len(args) == 1 && strings.EqualFold(args[0], "true")
	switch {
	case len(args) == 0:
		sh.answerText(c, jsonText(map[string]any{"error": "ok", "replica.deny-client": strconv.FormatBool(sh.denying)}))
		return
	case len(args) > 1:
		sh.answerText(c, jsonText(map[string]any{
			"error": fmt.Sprintf("ERR: invalid arguments '%s', only one argument is acceptable", strings.Join(args, " ")),
		}))
		return
	case !deny && !strings.EqualFold(args[0], "false"):
		sh.answerText(c, jsonText(map[string]any{"error": fmt.Sprintf("ERR: invalid arguments, '%s' is not a boolean", args[0])}))
		return
	}
	sh.askAll(c, func(other *Shard) { other.denying = deny }, func(c *call) {
		sh.answerText(c, jsonText(map[string]any{"error": "ok"}))
	})
}

// killPartitions gives replicas up as if their store had failed, so that they learn anew.
func (sh *Shard) killPartitions(c *call, args []string) {
	var which [2]int32 // app and partition; -1 = all
	which[0], which[1] = -1, -1
	for i, a := range args {
		v, err := strconv.ParseInt(a, 10, 32)
		if err != nil || v < 0 || i > 1 {
			sh.answerText(c, "invalid arguments: kill_partition [app_id [partition_index]]")
			return
		}
		which[i] = int32(v)
	}
	var killed, spared atomic.Int64
	sh.askAll(c, func(other *Shard) {
		for g, p := range other.partitions {
			switch {
			case which[0] >= 0 && g.App != which[0], which[1] >= 0 && g.Part != which[1], p.state != replicaOpen:
			case len(p.wanted.Secondaries) == 0:
				spared.Add(1)
			default:
				p.quarantine("killed by remote command")
				killed.Add(1)
			}
		}
	}, func(c *call) {
		sh.answerText(c, fmt.Sprintf("killed %d partitions, left %d of one member alone", killed.Load(), spared.Load()))
	})
}

// replicaSet says which replicas a command is for.
type replicaSet struct {
	all      bool
	apps     map[int32]bool
	replicas map[proto.GPID]bool
}

func parseReplicaSet(args []string) (s replicaSet, ok bool) {
	s = replicaSet{all: len(args) == 0, apps: map[int32]bool{}, replicas: map[proto.GPID]bool{}}
	for _, id := range strings.FieldsFunc(strings.Join(args, ","), func(r rune) bool { return r == ',' || r == ' ' }) {
		if g, ok := parseReplicaName(id + replicaSuffix); ok {
			s.replicas[g] = true
		} else if app, err := strconv.ParseInt(id, 10, 32); err == nil && app > 0 {
			s.apps[int32(app)] = true
		} else {
			return s, false
		}
	}
	return s, true
}

func (s *replicaSet) has(g proto.GPID) bool { return s.all || s.apps[g.App] || s.replicas[g] }

// eachReplica asks every replica of a set for a line and answers with all of them, as Apache Pegasus words it.
func (sh *Shard) eachReplica(c *call, args []string, line func(p *partition) string) {
	set, ok := parseReplicaSet(args)
	if !ok {
		sh.answerText(c, "invalid arguments")
		return
	}
	type entry struct {
		gpid proto.GPID
		text string
	}
	parts := make([][]entry, len(sh.node.shards))
	sh.askAll(c, func(other *Shard) {
		for g, p := range other.partitions {
			if !set.has(g) || p.state != replicaOpen {
				continue
			}
			role := map[proto.PartitionStatus]string{proto.PSPrimary: "P", proto.PSSecondary: "S"}[p.status()]
			if role != "" {
				role = "@" + role
			}
			parts[other.id] = append(parts[other.id], entry{g, fmt.Sprintf("\n    %v@%s%s : %s", g, sh.node.server, role, line(p))})
		}
	}, func(c *call) {
		all := slices.Concat(parts...)
		slices.SortFunc(all, func(a, b entry) int {
			return cmp.Or(cmp.Compare(a.gpid.App, b.gpid.App), cmp.Compare(a.gpid.Part, b.gpid.Part))
		})
		missing := 0
		for g := range set.replicas {
			if !slices.ContainsFunc(all, func(e entry) bool { return e.gpid == g }) {
				missing++
			}
		}
		for app := range set.apps {
			if !slices.ContainsFunc(all, func(e entry) bool { return e.gpid.App == app }) {
				missing++
			}
		}
		text := fmt.Sprintf("%d processed, %d not found", len(all), missing)
		for _, e := range all {
			text += e.text
		}
		sh.answerText(c, text)
	})
}

func (sh *Shard) queryAppEnvs(c *call, args []string) {
	sh.eachReplica(c, args, func(p *partition) string {
		var list []string
		for _, k := range slices.Sorted(maps.Keys(p.app.Envs)) {
			list = append(list, k+"="+p.app.Envs[k])
		}
		return strings.Join(list, ",")
	})
}

func (sh *Shard) queryCompact(c *call, args []string) {
	sh.eachReplica(c, args, func(p *partition) string {
		text := "last finish at [-]"
		if p.compact.ended > 0 {
			text = "last finish at [" + time.UnixMilli(p.compact.ended).Format("2006-01-02 15:04:05.000") + "]"
		}
		switch p.compactStatus() {
		case proto.CompactionQueuing:
			text += ", queuing"
		case proto.CompactionRunning:
			text += ", running"
		}
		return text
	})
}

func (sh *Shard) triggerCheckpoints(c *call, args []string) {
	sh.eachReplica(c, args, func(p *partition) string {
		if !p.keepCheckpoint() {
			return "a checkpoint is being made already"
		}
		return "triggered"
	})
}
