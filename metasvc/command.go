package metasvc

import (
	"fmt"

	"pegasus/netcore/proto"
)

// Commands of RPC_CLI_CLI_CALL. The form of the texts is that of Apache Pegasus (spec admin 18).
const (
	helpHelp    = "help|h|H|Help - Display help information\n"
	helpVersion = "version - Show the version of the server\n"
)

func (s *Server) command(c *proto.Command) string {
	switch c.Cmd {
	case "help", "h", "H", "Help":
		return help(c.Arguments)
	case "version":
		return fmt.Sprintf("%s (%s)", s.opt.Version, s.opt.Commit)
	}
	return fmt.Sprintf("unknown command '%s'", c.Cmd)
}

func help(args []string) string {
	if len(args) == 0 {
		return helpHelp + helpVersion
	}
	switch args[0] {
	case "help", "h", "H", "Help":
		return helpHelp + "help [command]\n"
	case "version":
		return helpVersion + "version\n"
	}
	return fmt.Sprintf("cannot find command '%s'", args[0])
}
