package metasvc

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"pegasus/metasvc/core"
	"pegasus/netcore/proto"
)

// Commands of RPC_CLI_CLI_CALL: those of Apache Pegasus' meta server that mean something here, with its names and forms of
// answer (spec admin 18), and our own. Options are kept by the whole group; what changes the cluster is done by the leader.

// command is one of them. run answers by calling reply once, now or later, on the loop.
type command struct {
	name  string
	help  string // what it does
	usage string // its arguments
	run   func(s *Server, args []string, reply func(string))
}

// commands by name; aliases are not listed.
var commands map[string]*command

// order is the order of help.
var order []string

func register(list ...command) {
	for i := range list {
		commands[list[i].name] = &list[i]
		order = append(order, list[i].name)
	}
}

func init() {
	commands = make(map[string]*command)
	register(
		command{"help", "Display help information", "[command]", (*Server).cmdHelp},
		command{"config-dump", "Dump the configuration in force", "", (*Server).cmdConfig},
		command{"server-info", "Query server information", "", (*Server).cmdInfo},
		command{"version", "Show the version of the server", "", (*Server).cmdVersion},
	)
	register(optionCommands...)
	register(jobCommands...)
	register(groupCommands...)
	slices.SortStableFunc(order[1:], strings.Compare)
}

// command carries out a remote command.
func (s *Server) command(c *proto.Command, reply func(string)) {
	name := c.Cmd
	if slices.Contains([]string{"h", "H", "Help"}, name) {
		name = "help"
	}
	cmd := commands[name]
	if cmd == nil {
		reply(fmt.Sprintf("unknown command '%s'", c.Cmd))
		return
	}
	cmd.run(s, c.Arguments, reply)
}

func (c *command) line() string {
	name := c.name
	if name == "help" {
		name = "help|h|H|Help"
	}
	return fmt.Sprintf("%s - %s\n", name, c.help)
}

func (s *Server) cmdHelp(args []string, reply func(string)) {
	if len(args) == 0 {
		var b strings.Builder
		for _, name := range order {
			b.WriteString(commands[name].line())
		}
		reply(b.String())
		return
	}
	name := args[0]
	if slices.Contains([]string{"h", "H", "Help"}, name) {
		name = "help"
	}
	if c := commands[name]; c != nil {
		reply(c.line() + strings.TrimRight(c.name+" "+c.usage, " ") + "\n")
		return
	}
	reply(fmt.Sprintf("cannot find command '%s'", args[0]))
}

func (s *Server) cmdVersion(_ []string, reply func(string)) {
	reply(fmt.Sprintf("%s (%s)", s.opt.Version, s.opt.Commit))
}

func (s *Server) cmdConfig(_ []string, reply func(string)) { reply(s.opt.Config) }

func (s *Server) cmdInfo(_ []string, reply func(string)) {
	b, _ := json.Marshal(map[string]string{
		"version": s.opt.Version, "git_SHA": s.opt.Commit, "build_type": "Release",
		"start_time": s.started.Format(time.DateTime),
	})
	reply(string(b))
}

// pretty is how Apache Pegasus prints the answers of commands: keys in order, two blanks.
func pretty(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Sprintf("{\n  \"error\": %q\n}", err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func failure(format string, args ...any) string {
	return pretty(map[string]string{"error": fmt.Sprintf(format, args...)})
}

// ask passes an operator's request to the core and has its answer made into text.
func (s *Server) ask(args any, reply func(string), render func(*core.AdminResponse) any) {
	s.token++
	s.calls[s.token] = call{render: func(r *core.Reply) {
		resp, ok := r.Body.(*core.AdminResponse)
		switch {
		case !ok:
			reply(failure("%v", r.Err))
		case resp.Err == proto.ErrForwardToOthers:
			reply(pretty(map[string]string{"error": resp.Err.String(), "leader": s.leaderAddress()}))
		case resp.Err != proto.ErrOK && resp.Hint != "":
			reply(failure("%v: %s", resp.Err, resp.Hint))
		case resp.Err != proto.ErrOK:
			reply(failure("%v", resp.Err))
		default:
			reply(pretty(render(resp)))
		}
	}}
	s.step(core.Request{Token: s.token, Args: args})
}

func (s *Server) leaderAddress() string {
	if s.leader.Address.IsValid() {
		return s.leader.Address.String()
	}
	return ""
}
