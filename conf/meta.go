package conf

import (
	"fmt"
	"time"
)

// Meta is the configuration of a meta server. pegasus-meta.toml explains every key.
type Meta struct {
	ClusterName      string           `toml:"cluster_name" allow:"name"`
	Node             MetaNode         `toml:"node"`
	Peers            []Peer           `toml:"peers"`
	FailureDetection FailureDetection `toml:"failure_detection"`
	Cluster          Cluster          `toml:"cluster"`
	Console          Console          `toml:"console"`
	Logging          Logging          `toml:"logging"`
	Debug            Debug            `toml:"debug"`
}

// MetaNode says where a meta server listens and keeps its journal.
type MetaNode struct {
	Listen     string `toml:"listen" allow:"address"`
	Advertise  string `toml:"advertise" allow:"address?"`
	RaftListen string `toml:"raft_listen" allow:"address?"`
	DataDir    string `toml:"data_dir" allow:"path"`
	Join       string `toml:"join" allow:"no|yes"`
}

// Peer is one member of the meta group: where it serves and where it takes part in Raft.
type Peer struct {
	Address string `toml:"address" allow:"address"`
	Raft    string `toml:"raft" allow:"address"`
}

// FailureDetection says when a replica server counts as dead.
type FailureDetection struct {
	Grace Duration `toml:"grace" allow:"100ms..10m"`
}

// Cluster holds the rules that the meta server keeps for all tables.
type Cluster struct {
	MinLiveNodes          int    `toml:"min_live_nodes" allow:"1..10000"`
	LivePercentage        int    `toml:"live_percentage" allow:"0..100"`
	MinReplicaCount       int    `toml:"min_replica_count" allow:"1..15"`
	MaxReplicaCount       int    `toml:"max_replica_count" allow:"1..15"`
	HoldSecondsForDropped int    `toml:"hold_seconds_for_dropped" allow:"0..315360000"`
	LevelOnStart          string `toml:"level_on_start" allow:"stopped|blind|freezed|steady|lively"`
	// MinWriteReplicas has the field's name: 0 means a majority of what a table wants.
	MinWriteReplicas int      `toml:"mutation_2pc_min_replica_count" allow:"0..15"`
	AssignDelay      Duration `toml:"replica_assign_delay" allow:"0s..24h"`
	AddsPerNode      int      `toml:"add_secondary_max_count_for_one_node" allow:"1..1000"`
	StaleDelay       Duration `toml:"stale_replica_delay" allow:"0s..720h"`
	BalancePeriod    Duration `toml:"balance_period" allow:"1s..1h"`
	Recover          string   `toml:"recover_from_replica_server" allow:"no|yes"`
}

// Console says what people may do in a browser.
type Console struct {
	Changes string `toml:"changes" allow:"no|yes"`
}

// DefaultMeta returns the configuration of an empty file: a group of one.
func DefaultMeta() *Meta {
	return &Meta{
		ClusterName: "pegasus",
		Node: MetaNode{
			Listen:  "127.0.0.1:34601",
			DataDir: "data",
			Join:    "no",
		},
		Peers:            []Peer{{Address: "127.0.0.1:34601", Raft: "127.0.0.1:34611"}},
		FailureDetection: FailureDetection{Grace: Duration(3 * time.Second)},
		Cluster: Cluster{
			MinLiveNodes:          1,
			LivePercentage:        65,
			MinReplicaCount:       1,
			MaxReplicaCount:       5,
			HoldSecondsForDropped: 604800,
			LevelOnStart:          "steady",
			AssignDelay:           Duration(10 * time.Minute),
			AddsPerNode:           10,
			StaleDelay:            Duration(10 * time.Minute),
			BalancePeriod:         Duration(10 * time.Second),
			Recover:               "no",
		},
		Console: Console{Changes: "no"},
		Logging: defaultLogging(),
	}
}

// AdvertiseAddress is the address that others dial: node.advertise, or node.listen when that is empty.
func (c *Meta) AdvertiseAddress() string {
	if c.Node.Advertise != "" {
		return c.Node.Advertise
	}
	return c.Node.Listen
}

// Self returns the entry of Peers that is this server. A loaded configuration has exactly one.
func (c *Meta) Self() Peer {
	for _, p := range c.Peers {
		if p.Address == c.AdvertiseAddress() {
			return p
		}
	}
	return Peer{}
}

func (c *Meta) relations(report func(key, format string, args ...any)) {
	c.Debug.check(report)
	advertised(c.Node.Listen, c.Node.Advertise, report)
	if n := len(c.Peers); n == 0 || n > 5 {
		report("peers", "%d members: want 1 to 5, each headed [[peers]]", n)
	}
	seen := map[string]bool{}
	for i, p := range c.Peers {
		for _, e := range []struct{ key, address string }{{"address", p.Address}, {"raft", p.Raft}} {
			switch key := peerKey(i, e.key); {
			case e.address == "":
				report(key, "missing: want an address")
			case anyHost(e.address):
				report(key, "%q: want an address that others can dial", e.address)
			case seen[e.address]:
				report(key, "%q: given twice", e.address)
			}
			seen[e.address] = true
		}
	}
	if len(c.Peers) > 0 && c.Self() == (Peer{}) {
		report("peers", "none has the address %q of this server (node.advertise, or node.listen if that is empty)", c.AdvertiseAddress())
	}
	if c.Cluster.MinReplicaCount > c.Cluster.MaxReplicaCount {
		report("cluster.min_replica_count", "%d: want at most cluster.max_replica_count %d", c.Cluster.MinReplicaCount, c.Cluster.MaxReplicaCount)
	}
}

func peerKey(i int, key string) string { return indexed("peers", i, key) }

// indexed names a key of an element of an array of tables.
func indexed(list string, i int, key string) string { return fmt.Sprintf("%s[%d].%s", list, i, key) }

// resolve makes paths absolute and fills in values that are derived from others.
func (c *Meta) resolve(folder string) {
	c.Node.DataDir = under(folder, c.Node.DataDir)
	c.Node.Advertise = c.AdvertiseAddress()
	if c.Node.RaftListen == "" {
		c.Node.RaftListen = c.Self().Raft
	}
	c.Logging.File = under(folder, c.Logging.File)
}
