package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"pegasus/conf/onebox"
)

// Variables of `make faults`: how long TestRandomFaults goes on, and from which seed its choices come.
const (
	envSeconds = "PEGASUS_FAULTS_SECONDS"
	envSeed    = "PEGASUS_FAULTS_SEED"
)

// duration is how long the long test is to take; 0 without make faults.
func duration() time.Duration {
	n, err := strconv.Atoi(os.Getenv(envSeconds))
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// fault breaks something and mends it again. It returns when the processes that it stopped serve again; the cluster may
// still be catching up.
type fault struct {
	name  string
	apply func(*breaker)
}

// breaker applies faults to a cluster.
type breaker struct {
	*world
	network *onebox.Network // nil: links cannot be cut
	random  *rand.Rand
}

func (b *breaker) server() string { return b.one(names(onebox.Replica, b.Cluster)) }

func (b *breaker) one(list []string) string { return list[b.random.IntN(len(list))] }

// moment is a time for a fault to last, from far below a lease to far beyond the grace.
func (b *breaker) moment() time.Duration {
	return time.Duration(20<<b.random.IntN(9))*time.Millisecond + time.Duration(b.random.IntN(1000))*time.Millisecond
}

var randomFaults = []fault{
	{"kill a server", func(b *breaker) {
		victim := b.server()
		b.ok(b.Kill(victim))
		hold(b.moment())
		b.ok(b.Start(victim))
	}},
	{"kill two servers", func(b *breaker) {
		all := names(onebox.Replica, b.Cluster)
		b.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		b.ok(b.Kill(all[0]))
		hold(b.moment())
		b.ok(b.Kill(all[1]))
		hold(b.moment())
		b.ok(b.Start(all[:2]...))
	}},
	{"kill all servers", func(b *breaker) {
		all := names(onebox.Replica, b.Cluster)
		b.ok(b.Kill(all...))
		b.ok(b.Start(all...))
	}},
	{"pause a server", func(b *breaker) {
		victim := b.server()
		b.ok(b.Pause(victim))
		hold(b.moment())
		b.ok(b.Resume(victim))
	}},
	{"restart a server", func(b *breaker) { b.ok(b.Restart(b.server())) }},
	{"kill a meta", func(b *breaker) {
		victim := b.one(names(onebox.Meta, b.Cluster))
		b.ok(b.Kill(victim))
		hold(b.moment())
		b.ok(b.Start(victim))
	}},
	{"kill all metas and a server", func(b *breaker) {
		metas, victim := names(onebox.Meta, b.Cluster), b.server()
		b.ok(b.Kill(metas...))
		b.ok(b.Kill(victim))
		hold(b.moment())
		b.ok(b.Start(metas...))
		b.ok(b.Start(victim))
	}},
	{"wipe a server", func(b *breaker) {
		victim := b.server()
		b.healthy() // one wiped disk at a time is what is survived
		b.ok(b.Kill(victim))
		hold(b.moment())
		b.ok(b.WipeData(victim))
		b.ok(b.Start(victim))
	}},
	{"cut a server off", func(b *breaker) {
		if b.network == nil {
			return
		}
		self, rest := b.others(b.server())
		b.ok(b.network.Cut(self, rest...))
		hold(b.moment())
		b.ok(b.network.Mend())
	}},
	{"cut one link one way", func(b *breaker) {
		if b.network == nil {
			return
		}
		_, servers := b.others("", onebox.Replica)
		b.random.Shuffle(len(servers), func(i, j int) { servers[i], servers[j] = servers[j], servers[i] })
		b.ok(b.network.CutOneWay(servers[0], servers[1]))
		hold(b.moment())
		b.ok(b.network.Mend())
	}},
}

// faultsPerRound is after how many faults the histories are checked and forgotten.
const faultsPerRound = 5

// TestRandomFaults applies random faults for as long as it is told to, with links that can be cut where that is possible.
func TestRandomFaults(t *testing.T) {
	if duration() == 0 {
		t.Skip("runs by `make faults SECONDS=n`")
	}
	var network *onebox.Network
	if onebox.NetworkPossible() == nil {
		if !alone(t) {
			return
		}
		var err error
		if network, err = onebox.NewNetwork(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(network.Close)
	}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv(envSeed), 10, 64); err == nil {
		seed = n
	}
	t.Logf("%s=%d", envSeed, seed)
	b := &breaker{
		world:  open(t, onebox.Options{Network: network, MetaExtra: "[cluster]\nlive_percentage = 1"}),
		random: rand.New(rand.NewPCG(seed, 0)), network: network,
	}
	end := time.Now().Add(duration())
	for round := 1; time.Now().Before(end) && !t.Failed(); round++ {
		b.round(fmt.Sprintf("round%d", round), seed+uint64(round), end)
	}
}

func (b *breaker) round(name string, seed uint64, end time.Time) {
	l := startLoad(b.t, b.client, table, name, seed)
	defer l.tell()
	defer l.end()
	b.ok(l.progress(everything()...))
	for range faultsPerRound {
		f := randomFaults[b.random.IntN(len(randomFaults))]
		b.t.Logf("%s %s: %s", time.Now().Format(time.TimeOnly), name, f.name)
		f.apply(b)
		if b.random.IntN(2) == 0 { // else the next one meets a cluster that is still busy with this one
			b.healthy()
			b.ok(l.progress(everything()...))
		}
	}
	b.settled(l)
}
