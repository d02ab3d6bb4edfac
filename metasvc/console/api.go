package console

import "pegasus/metasvc/core"

// The answers of /api/v1, in JSON. API.md explains them to those who use them; fields are only added.

// Head is what the overview, the map, a table and a node begin with; their own structs follow in the same object.
type Head struct {
	Etag string `json:"etag"` // names what follows, without News: see API.md
	Now  int64  `json:"now"`
	*News
}

// News are the events behind a number.
type News struct {
	Events    []Event `json:"events"`
	LastEvent int64   `json:"last_event"`
}

// Overview is GET /api/v1/overview: everything about the cluster that does not grow with the number of partitions.
type Overview struct {
	Cluster string   `json:"cluster"`
	Version string   `json:"version"`
	Leader  string   `json:"leader"`
	Metas   []string `json:"metas"`
	Level   string   `json:"level"` // in force
	// WantedLevel is the level that is set; Level is lower while too few nodes live.
	WantedLevel string `json:"wanted_level"`
	// Changes tells whether the API changes anything on this meta; see API.md.
	Changes  bool      `json:"changes"`
	Revision int64     `json:"revision"`
	Nodes    []Node    `json:"nodes"`
	Tables   []Table   `json:"tables"`
	Concerns []Concern `json:"concerns"`
	// MoreConcerns is how many are left out of Concerns.
	MoreConcerns int            `json:"more_concerns"`
	Jobs         []core.JobView `json:"jobs"` // the newest first, at most 100; see JOBS.md
	Hot          []Hot          `json:"hot"`
}

// Traffic is a load, per second.
type Traffic struct {
	Reads      int64 `json:"reads"`
	Writes     int64 `json:"writes"`
	ReadBytes  int64 `json:"read_bytes"`
	WriteBytes int64 `json:"write_bytes"`
}

// Add adds another load.
func (t *Traffic) Add(o Traffic) {
	t.Reads += o.Reads
	t.Writes += o.Writes
	t.ReadBytes += o.ReadBytes
	t.WriteBytes += o.WriteBytes
}

// Latency is in microseconds, of the last ten seconds. P50 is the mean of the replicas' medians by their traffic, P99 the worst
// of them.
type Latency struct {
	ReadP50  int64 `json:"read_p50"`
	ReadP99  int64 `json:"read_p99"`
	WriteP50 int64 `json:"write_p50"`
	WriteP99 int64 `json:"write_p99"`
}

// Node is a replica server.
type Node struct {
	ID        string  `json:"id"`
	Address   string  `json:"address"`
	Zone      string  `json:"zone"`
	Mode      string  `json:"mode"`
	Alive     bool    `json:"alive"`
	Connected bool    `json:"connected"`
	SilentMS  int64   `json:"silent_ms"` // whole seconds; 0 below two
	Shards    int32   `json:"shards"`
	Primaries int     `json:"primaries"`
	Replicas  int     `json:"replicas"`
	Learning  int     `json:"learning"`
	Failed    int     `json:"failed"`
	Bytes     int64   `json:"bytes"`
	Traffic   Traffic `json:"traffic"`
	Latency   Latency `json:"latency"`
	Disks     []Disk  `json:"disks"`
}

// Disk is a data directory.
type Disk struct {
	Tag         string `json:"tag"`
	Dir         string `json:"dir"`
	CapacityMB  int64  `json:"capacity_mb"`
	AvailableMB int64  `json:"available_mb"`
	Status      string `json:"status"` // "normal", "full", "failed"
	Replicas    int    `json:"replicas"`
	Bytes       int64  `json:"bytes"`
}

// Table is a table.
type Table struct {
	ID         int32             `json:"id"`
	Name       string            `json:"name"`
	Status     string            `json:"status"` // "available" or "dropped"
	Partitions int32             `json:"partitions"`
	Want       int32             `json:"replicas"`
	MinWrite   int32             `json:"min_write"`
	Health     map[string]int    `json:"health"`
	Bytes      int64             `json:"bytes"` // of the primaries
	Traffic    Traffic           `json:"traffic"`
	Latency    Latency           `json:"latency"`
	Envs       map[string]string `json:"envs"`
	Created    int64             `json:"created"`
	Expires    int64             `json:"expires"` // of a dropped one
}

// Concern is a partition that is not as it should be.
type Concern struct {
	GPID   string `json:"gpid"`
	Table  string `json:"table"`
	Health string `json:"health"`
	Doing  string `json:"doing"`
}

// Hot is a hash key that a partition is asked for often.
type Hot struct {
	Table   string `json:"table"`
	GPID    string `json:"gpid"`
	Node    string `json:"node"`
	HashKey string `json:"hash_key"` // as a Go string literal without the quotes, its first 64 bytes
	Write   bool   `json:"write"`
	PerSec  int64  `json:"per_sec"`
	Percent int32  `json:"percent"`
}

// Partitions is GET /api/v1/table?name=NAME.
type Partitions struct {
	Table      Table       `json:"table"`
	Partitions []Partition `json:"list"`
}

// Partition is one of a table.
type Partition struct {
	Index       int32    `json:"index"`
	Ballot      int64    `json:"ballot"`
	Primary     string   `json:"primary"` // addresses
	Secondaries []string `json:"secondaries"`
	Learners    []string `json:"learners"`
	Health      string   `json:"health"`
	Doing       string   `json:"doing"`
	Bytes       int64    `json:"bytes"`
	Traffic     Traffic  `json:"traffic"`
	Latency     Latency  `json:"latency"`
	Hot         []Hot    `json:"hot"`
}

// NodeReplicas is GET /api/v1/node?address=HOST:PORT.
type NodeReplicas struct {
	Node     Node      `json:"node"`
	Replicas []Replica `json:"list"`
}

// Replica is one on a node.
type Replica struct {
	GPID    string  `json:"gpid"`
	Table   string  `json:"table"`
	Role    string  `json:"role"` // by the register: "primary", "secondary", else what the node says
	Ballot  int64   `json:"ballot"`
	Disk    string  `json:"disk"`
	Failure string  `json:"failure"`
	Bytes   int64   `json:"bytes"`
	Traffic Traffic `json:"traffic"`
	Latency Latency `json:"latency"`
}

// Event is something that happened.
type Event struct {
	Seq  int64  `json:"seq"`
	At   int64  `json:"at"`   // unix milliseconds
	Kind string `json:"kind"` // "meta", "node", "table", "partition", "guardian", "job", "config"
	Text string `json:"text"`
}

// Map is GET /api/v1/map: which node has which replicas.
type Map struct {
	Nodes  []string   `json:"nodes"` // addresses
	Tables []MapTable `json:"tables"`
	// Omitted is how many partitions of large clusters are left out.
	Omitted int `json:"omitted"`
}

// MapTable is a table of the map. The lists have an element for each of its first partitions.
type MapTable struct {
	ID   int32  `json:"id"`
	Name string `json:"name"`
	// Members are indices in Map.Nodes: the primary (-1 if there is none, or none with an address), the secondaries, the learners.
	Members [][]int `json:"members"`
	// Learners says from which member on they are learners.
	Learners []int `json:"learners"`
	// Health counts from 0, healthy, to 4, dead.
	Health []int `json:"health"`
}
