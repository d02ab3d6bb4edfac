package metasvc

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pegasus/metasvc/core"
	"pegasus/metasvc/journal"
	"pegasus/netcore/proto"
)

// Commands for the meta group itself. To replace a member: start the new one with node.join = true and the whole new group
// in its file, add it, remove the old one.
var groupCommands = []command{
	{"meta.members", "List the members of the meta group", "", (*Server).cmdMembers},
	{"meta.add", "Take a member into the meta group, or give one another Raft address", "<host:port> <raft host:port>", (*Server).cmdAdd},
	{"meta.remove", "Exclude a member from the meta group", "<host:port>", (*Server).cmdRemove},
	{"meta.backup", "Write the state of the cluster into one file in the data directory of the leader", "[name]", (*Server).cmdBackup},
}

type memberText struct {
	Address string `json:"address"`
	Raft    string `json:"raft"`
	Leader  bool   `json:"leader"`
}

func (s *Server) cmdMembers(_ []string, reply func(string)) {
	list := []memberText{}
	for _, m := range s.members {
		list = append(list, memberText{m.ID, m.Address, m.ID == s.leaderAddress()})
	}
	reply(pretty(map[string]any{"error": "ok", "members": list}))
}

func (s *Server) cmdAdd(args []string, reply func(string)) {
	if len(args) != 2 {
		reply(failure("invalid arguments: want the address and the Raft address of a member"))
		return
	}
	for _, a := range args {
		if h, ok := proto.ParseHostPort(a); !ok || h.Port == 0 {
			reply(failure("invalid argument, bad host:port '%s'", a))
			return
		}
	}
	if len(s.members) >= maxMembers && !s.isMember(args[0]) {
		reply(failure("the group has %d members, which is the most", len(s.members)))
		return
	}
	m := journal.Member{ID: args[0], Address: args[1]}
	after := []journal.Member{m}
	for _, o := range s.members {
		if o.ID != m.ID {
			after = append(after, o)
		}
	}
	s.regroup(reply, func() error {
		if !answers(m) {
			return fmt.Errorf("nobody answers at %s: start the member first", m.Address)
		}
		if err := s.majority(after); err != nil {
			return err
		}
		return s.journal.Add(m)
	})
}

func (s *Server) cmdRemove(args []string, reply func(string)) {
	switch {
	case len(args) != 1:
		reply(failure("invalid arguments: want the address of a member"))
	case !s.isMember(args[0]):
		reply(failure("'%s' is no member", args[0]))
	default:
		var after []journal.Member
		for _, m := range s.members {
			if m.ID != args[0] {
				after = append(after, m)
			}
		}
		s.regroup(reply, func() error {
			if err := s.majority(after); err != nil {
				return err
			}
			return s.journal.Remove(args[0])
		})
	}
}

// majority refuses a group of which too few members answer: a change to it could never be stored, and nothing after it.
func (s *Server) majority(after []journal.Member) error {
	alive := 0
	for _, m := range after {
		if m.ID == s.opt.Advertise || answers(m) {
			alive++
		}
	}
	if 2*alive <= len(after) {
		return fmt.Errorf("only %d of the %d members of the new group answer", alive, len(after))
	}
	return nil
}

// answers tells whether something listens where a member's journal ought to. It blocks.
func answers(m journal.Member) bool {
	conn, err := net.DialTimeout("tcp", m.Address, answerTimeout)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

const answerTimeout = 2 * time.Second

// maxMembers bounds the group; more would only make it slower.
const maxMembers = 7

func (s *Server) isMember(address string) bool {
	for _, m := range s.members {
		if m.ID == address {
			return true
		}
	}
	return false
}

// regroup changes the group off the loop, for the journal must not be waited for there, and answers when it is stored.
func (s *Server) regroup(reply func(string), change func() error) {
	switch {
	case s.journal == nil:
		reply(failure("%v", proto.ErrServiceNotActive))
		return
	case s.changing:
		reply(failure("%v: another change of the group is under way", proto.ErrBusy))
		return
	case s.core.Role() != core.Leading:
		reply(pretty(map[string]string{"error": proto.ErrForwardToOthers.String(), "leader": s.leaderAddress()}))
		return
	}
	s.changing = true
	go func() {
		err := change()
		members := s.journal.Members()
		s.onLoop(func() {
			s.changing = false
			switch {
			case errors.Is(err, journal.ErrNotLeader):
				reply(pretty(map[string]string{"error": proto.ErrForwardToOthers.String(), "leader": s.leaderAddress()}))
				return
			case err != nil:
				reply(failure("%v", err))
				return
			}
			s.members = members
			s.cmdMembers(nil, reply)
		})
	}()
}

// cmdBackup writes a backup on the leader's disk, off the loop.
func (s *Server) cmdBackup(args []string, reply func(string)) {
	now := time.Now()
	name := "meta-" + now.UTC().Format("20060102T150405Z") + ".backup"
	if len(args) == 1 {
		name = args[0]
	}
	switch {
	case len(args) > 1 || name == "" || strings.ContainsAny(name, "/\\\x00") || strings.HasPrefix(name, "."):
		reply(failure("invalid arguments: want the name of a file, without a folder"))
		return
	case s.core.Role() != core.Leading:
		reply(pretty(map[string]string{"error": proto.ErrForwardToOthers.String(), "leader": s.leaderAddress()}))
		return
	}
	b := s.backup(now)
	path := filepath.Join(s.opt.DataDir, backupDir, name)
	go func() {
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = writeBackup(path, b)
		}
		s.onLoop(func() {
			if err != nil {
				reply(failure("%v", err))
				return
			}
			reply(pretty(map[string]string{"error": "ok", "file": path, "bytes": fmt.Sprint(len(b))}))
		})
	}()
}
