package core

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pegasus/netcore/proto"
)

// Options that operators change while the cluster runs. Apache Pegasus keeps them in the memory of one meta and forgets them
// with it; here they are in the journal and hold for the group until they are set to DEFAULT, which is what the
// configuration file says. Names and limits are those of the remote commands (spec admin 18).

// The keys of State.options.
const (
	OptLevel           = "level"
	OptLivePercentage  = "meta.live_percentage"
	OptAssignDelay     = "meta.lb.assign_delay_ms"
	OptInTurn          = "meta.lb.balancer_in_turn"
	OptOnlyPrimaries   = "meta.lb.only_primary_balancer"
	OptOnlyMovePrimary = "meta.lb.only_move_primary"
	OptIgnoredApps     = "meta.lb.ignored_app_list"
	OptBlackList       = "meta.lb.assign_secondary_black_list"
	OptFlowControl     = "meta.lb.add_secondary_enable_flow_control"
	OptAddSecondaryMax = "meta.lb.add_secondary_max_count_for_one_node"
	OptStaleDelay      = "meta.stale_replica_delay_ms"
)

// SetOption sets an option, or with Default takes it back to what is configured.
type SetOption struct {
	Key     string `thrift:"1"`
	Value   string `thrift:"2"`
	Default bool   `thrift:"3"`
}

const maxOptionLen = 64 << 10

func (s *State) setOption(c *SetOption) Result {
	s.revision++
	if c.Default {
		delete(s.options, c.Key)
	} else {
		s.options[c.Key] = c.Value
	}
	return Result{}
}

// Option returns an option as it was set by an operator; ok is false when the configured value holds.
func (s *State) Option(key string) (value string, ok bool) {
	value, ok = s.options[key]
	return value, ok
}

func (s *State) number(key string, def int64) int64 {
	if v, ok := s.options[key]; ok {
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n
		}
	}
	return def
}

func (s *State) flag(key string) bool { return s.options[key] == "true" }

// ids returns an option that is a list of table ids.
func (s *State) ids(key string) []int32 {
	ids, _ := ParseIDs(s.options[key])
	return ids
}

// ParseIDs reads table ids separated by commas.
func ParseIDs(text string) (ids []int32, ok bool) {
	for f := range strings.SplitSeq(text, ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		n, err := strconv.ParseInt(f, 10, 32)
		if err != nil || n < 1 {
			return nil, false
		}
		if !slices.Contains(ids, int32(n)) {
			ids = append(ids, int32(n))
		}
	}
	return ids, true
}

// level is the function level that is configured, by an operator or else by the file.
func (c *Core) level() proto.MetaFunctionLevel {
	return proto.MetaFunctionLevel(c.st.number(OptLevel, int64(c.opt.Level)))
}

func (c *Core) assignDelay() int64 {
	return c.st.number(OptAssignDelay, c.opt.AssignDelay.Milliseconds()) * 1e6
}

// addLimit is how many secondaries may be added to a node at a time.
func (c *Core) addLimit() int {
	if c.st.options[OptFlowControl] == "false" {
		return freeAddsPerNode
	}
	return int(c.st.number(OptAddSecondaryMax, int64(c.opt.AddsPerNode)))
}

// blackListed tells whether a node must not get another secondary.
func (c *Core) blackListed(id proto.NodeID) bool {
	list := c.st.options[OptBlackList]
	if list == "" {
		return false
	}
	address := c.st.Node(id).Address.String()
	return slices.Contains(strings.Split(list, ","), address)
}

var levelNames = map[proto.MetaFunctionLevel]bool{
	proto.LevelStopped: true, proto.LevelBlind: true, proto.LevelFreezed: true, proto.LevelSteady: true, proto.LevelLively: true,
}

// controlMeta judges RPC_CM_CONTROL_META, which always answers the level that was configured before.
func (c *Core) controlMeta(r *proto.MetaControlRequest, w waiter, out *Effects) {
	old := c.level()
	if levelNames[r.Level] && r.Level <= proto.LevelSteady {
		c.dropPlans()
	}
	if r.Level == proto.LevelInvalid || r.Level == old || !levelNames[r.Level] {
		resp := &proto.MetaControlResponse{OldLevel: old}
		if r.Level != proto.LevelInvalid && !levelNames[r.Level] {
			resp.Err = proto.ErrInvalidParameters
		}
		out.Reply = append(out.Reply, Reply{Token: w.token, Body: resp})
		return
	}
	w.args = &levelChange{old: old}
	c.propose(CommandSetOption, &SetOption{Key: OptLevel, Value: strconv.Itoa(int(r.Level))}, w, out)
}

// levelChange waits for a level to be stored.
type levelChange struct{ old proto.MetaFunctionLevel }

// OptionRequest sets an option; an operator's call that is not an RPC of Apache Pegasus. Its answer is *AdminResponse.
type OptionRequest struct {
	Key, Value string
	Default    bool
}

func (c *Core) requestOption(r *OptionRequest, w waiter, out *Effects) {
	if len(r.Value) > maxOptionLen {
		c.answerResult(w, Result{Err: proto.ErrInvalidParameters, Hint: fmt.Sprintf("more than %d bytes", maxOptionLen)}, out)
		return
	}
	c.propose(CommandSetOption, &SetOption{Key: r.Key, Value: r.Value, Default: r.Default}, w, out)
}

// Configured returns the values of the options that hold when no operator set them.
func (c *Core) Configured(key string) int64 {
	switch key {
	case OptLivePercentage:
		return int64(c.opt.LivePercentage)
	case OptAssignDelay:
		return c.opt.AssignDelay.Milliseconds()
	case OptAddSecondaryMax:
		return int64(c.opt.AddsPerNode)
	case OptFlowControl:
		return 1
	case OptStaleDelay:
		return c.opt.StaleDelay.Milliseconds()
	}
	return 0
}
