package metasvc

import (
	"math"
	"strconv"
	"strings"

	"pegasus/metasvc/core"
	"pegasus/netcore/proto"
)

var optionCommands = []command{
	number(core.OptLivePercentage, "node live percentage threshold for update", 0, 100),
	number(core.OptAssignDelay, "control the replica_assign_delay_ms_for_dropouts config", 0, math.MaxInt32),
	number(core.OptStaleDelay, "how long a replica must have been without use before its node discards it, in ms", 0, math.MaxInt32),
	number(core.OptAddSecondaryMax, "control the max count to add secondary for one node", 0, 1000),
	boolean(core.OptInTurn, "control whether do app balancer in turn"),
	boolean(core.OptOnlyPrimaries, "control whether do only primary balancer"),
	boolean(core.OptOnlyMovePrimary, "control whether only move primary in balancer"),
	boolean(core.OptFlowControl, "control whether enable add secondary flow control"),
	{"meta.lb.get_balance_operation_count", "Get balance operation count", "[total | move_pri | copy_pri | copy_sec | detail]", (*Server).cmdOperations},
	{core.OptIgnoredApps, "Get, set or clear balancer ignored_app_list", "<get|set|clear> [app_id1,app_id2..]", (*Server).cmdIgnored},
	{core.OptBlackList, "Control the assign secondary black list", "[<host:port,..>|clear]", (*Server).cmdBlackList},
}

// set stores an option and answers as all commands that set one.
func (s *Server) set(r *core.OptionRequest, reply func(string), more map[string]any) {
	s.ask(r, reply, func(*core.AdminResponse) any {
		out := map[string]any{"error": "ok"}
		for k, v := range more {
			out[k] = v
		}
		return out
	})
}

// number makes a command that shows and sets a number between two bounds.
func number(key, help string, lo, hi int64) command {
	run := func(s *Server, args []string, reply func(string)) {
		switch {
		case len(args) == 0:
			value, ok := s.core.State().Option(key)
			if !ok {
				value = strconv.FormatInt(s.core.Configured(key), 10)
			}
			reply(pretty(map[string]string{"error": "ok", key: value}))
		case len(args) > 1:
			reply(failure("ERR: invalid arguments '%s', only one argument is acceptable", strings.Join(args, " ")))
		case args[0] == "DEFAULT":
			s.set(&core.OptionRequest{Key: key, Default: true}, reply, map[string]any{key: s.core.Configured(key)})
		default:
			v, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || v < lo || v > hi {
				reply(failure("ERR: invalid argument '%s', the value is not acceptable", args[0]))
				return
			}
			s.set(&core.OptionRequest{Key: key, Value: strconv.FormatInt(v, 10)}, reply, nil)
		}
	}
	return command{key, help, "[num | DEFAULT]", run}
}

// boolean makes a command that shows and sets a switch.
func boolean(key, help string) command {
	run := func(s *Server, args []string, reply func(string)) {
		switch {
		case len(args) == 0:
			value, ok := s.core.State().Option(key)
			if !ok {
				value = strconv.FormatBool(s.core.Configured(key) != 0)
			}
			reply(pretty(map[string]string{"error": "ok", key: value}))
		case len(args) > 1:
			reply(failure("ERR: invalid arguments '%s', only one argument is acceptable", strings.Join(args, " ")))
		default:
			v := strings.ToLower(args[0])
			if v != "true" && v != "false" {
				reply(failure("ERR: invalid arguments, '%s' is not a boolean", args[0]))
				return
			}
			s.set(&core.OptionRequest{Key: key, Value: v}, reply, nil)
		}
	}
	return command{key, help, "<true|false>", run}
}

func (s *Server) cmdOperations(args []string, reply func(string)) {
	move, copyPri, copySec, known := s.core.Operations()
	counts := map[string]int{"move_pri": move, "copy_pri": copyPri, "copy_sec": copySec, "total": move + copyPri + copySec}
	if !known {
		for k := range counts {
			counts[k] = -1
		}
	}
	switch {
	case len(args) == 0:
		reply(pretty(map[string]int{"total": counts["total"]}))
	case len(args) == 1 && args[0] == "detail":
		reply(pretty(counts))
	case len(args) == 1:
		if n, ok := counts[args[0]]; ok {
			reply(pretty(map[string]int{args[0]: n}))
			return
		}
		fallthrough
	default:
		reply(failure("invalid arguments"))
	}
}

func (s *Server) cmdIgnored(args []string, reply func(string)) {
	switch {
	case len(args) == 1 && args[0] == "get":
		list, _ := s.core.State().Option(core.OptIgnoredApps)
		reply(pretty(map[string]string{"ignored_app_id_list": list}))
	case len(args) == 1 && args[0] == "clear":
		s.set(&core.OptionRequest{Key: core.OptIgnoredApps, Default: true}, reply, nil)
	case len(args) == 2 && args[0] == "set":
		ids, ok := core.ParseIDs(args[1])
		if !ok || len(ids) == 0 {
			reply(failure("invalid argument"))
			return
		}
		s.set(&core.OptionRequest{Key: core.OptIgnoredApps, Value: args[1]}, reply, nil)
	default:
		reply(failure("invalid arguments"))
	}
}

func (s *Server) cmdBlackList(args []string, reply func(string)) {
	switch {
	case len(args) == 0:
		list, _ := s.core.State().Option(core.OptBlackList)
		reply(pretty(map[string]string{"error": "ok", "assign_secondary_black_list": list}))
	case len(args) > 1:
		reply(failure("invalid arguments"))
	case args[0] == "clear":
		s.set(&core.OptionRequest{Key: core.OptBlackList, Default: true}, reply, nil)
	default:
		for a := range strings.SplitSeq(args[0], ",") {
			if _, ok := proto.ParseHostPort(a); !ok {
				reply(failure("invalid argument, bad host:port '%s'", a))
				return
			}
		}
		s.set(&core.OptionRequest{Key: core.OptBlackList, Value: args[0]}, reply, nil)
	}
}
