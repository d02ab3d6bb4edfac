package shard

import (
	"testing"

	"pegasus/netcore/proto"
)

var part0 = proto.GPID{App: 1}

func TestGroupFillsUnderLoad(t *testing.T) {
	g := newGroup(t, []int{1, 2, 3})
	g.meta.groupTable(1, 4, 3)
	l := g.load(1, 4, 4)
	g.full(1, 4, 3)
	l.more(g, 200)
	l.verify(g, 1, 4)
}

func TestGroupOutlivesEveryStop(t *testing.T) {
	g := newGroup(t, []int{2, 2, 2})
	g.meta.groupTable(1, 2, 3)
	g.full(1, 2, 3)
	l := g.load(1, 2, 3)
	for i, m := range g.nodes {
		l.more(g, 50)
		m.stop()
		l.more(g, 50)
		m.restart(i + 1)
		g.full(1, 2, 3)
	}
	l.verify(g, 1, 2)
}
