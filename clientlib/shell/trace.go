package shell

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pegasus/clientlib"
	"pegasus/clientlib/admin"
	"pegasus/netcore/proto"
)

// traced is a data command whose request a server can make itself. The arguments are those of the command, what options are there
// being arguments here.
type traced struct {
	operation, use string
	loop           int // of parts, that repeat at the end
	parts          []part
}

var tracedCommands = map[string]traced{
	"get":       {"get", "<hash_key> <sort_key>", 1, []part{hashKey, sortKey}},
	"set":       {"set", "<hash_key> <sort_key> <value> [ttl_in_seconds]", 1, []part{hashKey, sortKey, value, verbatim}},
	"del":       {"remove", "<hash_key> <sort_key>", 1, []part{hashKey, sortKey}},
	"ttl":       {"ttl", "<hash_key> <sort_key>", 1, []part{hashKey, sortKey}},
	"exist":     {"ttl", "<hash_key> <sort_key>", 1, []part{hashKey, sortKey}},
	"incr":      {"incr", "<hash_key> <sort_key> [increment]", 1, []part{hashKey, sortKey, verbatim}},
	"count":     {"sortkey_count", "<hash_key>", 1, []part{hashKey}},
	"multi_get": {"multi_get", "<hash_key> [sort_key...]", 1, []part{hashKey, sortKey}},
	"batch_get": {"batch_get", "<hash_key> <sort_key> [sort_key...]", 1, []part{hashKey, sortKey}},
	"multi_set": {"multi_set", "<hash_key> <sort_key> <value> [sort_key value...]", 2, []part{hashKey, sortKey, value}},
	"multi_del": {"multi_remove", "<hash_key> <sort_key> [sort_key...]", 1, []part{hashKey, sortKey}},
	"hash_scan": {"scan", "<hash_key> [start_sort_key] [stop_sort_key]", 1, []part{hashKey, sortKey}},
	"check_and_set": {"check_and_set", "<hash_key> <check_sort_key> <check_type> <check_operand> <set_sort_key> <set_value> [ttl_in_seconds]", 1,
		[]part{hashKey, sortKey, verbatim, value, sortKey, value, verbatim}},
	checkAndMutate: {checkAndMutate, "<hash_key> <check_sort_key> <check_type> <check_operand> <set|del> <sort_key> [value] [set|del...]", 1,
		[]part{hashKey, sortKey, verbatim, value}},
}

const checkAndMutate = "check_and_mutate"

// tracedNames are the names of requests in the metrics and logs of servers, where those of the shell are others.
var tracedNames = map[string]string{"remove": "del", "sortkey_count": "count", "scan": "hash_scan", "multi_remove": "multi_del", "put": "set", "multi_put": "multi_set"}

// traceCommands explain where the time of requests goes; the servers do the measuring.
func (s *Shell) traceCommands() []*cobra.Command {
	trace := note(s.command(groupData, "trace <command> <hash_key> [argument...]",
		"perform one request and tell where its time went", (*call).trace), noteNoDash)
	trace.ValidArgs = sortedKeys(tracedCommands)
	var long strings.Builder
	long.WriteString("Perform one request and tell where its time went. It is a real one: what a traced set writes is written.\n")
	for _, name := range trace.ValidArgs {
		fmt.Fprintf(&long, "\n  trace %s %s", name, tracedCommands[name].use)
	}
	trace.Long = long.String()
	var t targets
	slow := s.command(groupCluster, "slow_log [count]", "the requests that were slow, and where their time went",
		func(c *call, args []string) error {
			t.kind = "replica-server"
			return c.remote(&t, "slow-log", args)
		})
	slow.Flags().StringVarP(&t.list, "node_list", "l", "", "only these servers, HOST:PORT,HOST:PORT")
	resolveFlag(slow, &t.names)
	flagWords(slow, "node_list", s.completeNodes)
	return []*cobra.Command{trace, note(slow, noteWatch)}
}

// trace asks the primary of the key to perform a request.
func (c *call) trace(args []string) error {
	name := args[0]
	if other, ok := tracedNames[name]; ok {
		name = other
	}
	t, ok := tracedCommands[name]
	if !ok {
		return usagef("trace %q: want one of %s", args[0], strings.Join(sortedKeys(tracedCommands), ", "))
	}
	if least, most := countArgs("trace " + t.use); len(args)-1 < least || most >= 0 && len(args)-1 > most {
		return usagef("usage: trace %s %s", name, t.use)
	}
	if name == "incr" && len(args) == 3 {
		args = append(args, "1")
	}
	b, err := c.tracedWords(name, args[1:])
	if err != nil {
		return err
	}
	raw, err := clientlib.RawKey(nil, b[0], append(b, nil)[1])
	if err != nil {
		return usageError{err}
	}
	return c.ask(func(ctx context.Context, a admin.Admin) error {
		cfg, err := c.configured(ctx, a)
		if err != nil {
			return err
		}
		p := &cfg.Partitions[proto.RawKeyHash(raw)%uint64(len(cfg.Partitions))]
		primary := primaryOf(p)
		if primary == "" {
			return fmt.Errorf("partition %v has no primary", p.PID)
		}
		line := []string{t.operation, p.PID.String()}
		for _, x := range b {
			line = append(line, string(x))
		}
		text, err := a.Command(ctx, primary, "trace", line...)
		if err != nil {
			return err
		}
		text = strings.TrimSpace(text)
		if why, refused := strings.CutPrefix(text, "ERR: "); refused {
			return fmt.Errorf("%s: %s", primary, why)
		}
		return c.out.Object(fmt.Sprintf("partition %v on %s\n%s", p.PID, primary, text), "gpid", p.PID.String(), "node", primary, "trace", text)
	})
}

// tracedWords reads the arguments of a traced command: keys and values in their encodings, the rest as it is.
func (c *call) tracedWords(name string, args []string) ([][]byte, error) {
	t := tracedCommands[name]
	if name != checkAndMutate {
		return c.allBytes(args, t.loop, t.parts...)
	}
	n := len(t.parts)
	out, err := c.allBytes(args[:n], t.loop, t.parts...)
	for rest := args[n:]; err == nil && len(rest) > 0; rest = rest[n:] {
		if n = min(2, len(rest)); rest[0] == "set" {
			n = min(3, len(rest))
		}
		var more [][]byte
		more, err = c.allBytes(rest[:n], 1, verbatim, sortKey, value)
		out = append(out, more...)
	}
	return out, err
}
