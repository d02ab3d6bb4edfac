package core

import "slices"

// Group says who the members of the meta group are now.
type Group struct {
	Metas        []string // addresses where they serve
	Coordinators []string // and where their journals listen
}

func (Group) event() {}

// regroup tells nodes of a group that changed.
func (c *Core) regroup(now Now, e Group, out *Effects) {
	if slices.Equal(c.opt.Metas, e.Metas) && slices.Equal(c.opt.Coordinators, e.Coordinators) {
		return
	}
	c.opt.Metas, c.opt.Coordinators = e.Metas, e.Coordinators
	if c.role != Leading {
		return
	}
	for _, m := range c.members {
		if m.link != 0 {
			c.sendAssign(now, m, nil, nil, nil, out)
		}
	}
}
