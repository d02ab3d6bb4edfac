package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pegasus/clientlib"
	"pegasus/conf/onebox"
	"pegasus/netcore/proto"
	"pegasus/netcore/proto/golden"
)

// cluster is what a replay needs of the system under test: addresses, and nothing of how it runs.
type cluster interface {
	Metas() []string
	Replicas() []string
}

// running is a cluster that somebody else started.
type running struct{ metas, replicas []string }

func (r running) Metas() []string    { return r.metas }
func (r running) Replicas() []string { return r.replicas }

// EnvMetas and EnvReplicas name a running cluster that never saw the recordings; without them a test starts its own.
const (
	EnvMetas    = "PEGASUS_METAS"
	EnvReplicas = "PEGASUS_REPLICAS"
)

func openCluster(t *testing.T) cluster {
	if metas, replicas := os.Getenv(EnvMetas), os.Getenv(EnvReplicas); metas != "" && replicas != "" {
		return running{strings.Split(metas, ","), strings.Split(replicas, ",")}
	}
	// One meta server, as the recorder had, and its settings as far as answers show them.
	return onebox.Start(t, onebox.Options{Metas: 1, Replicas: 3, NoTables: true, MetaExtra: `[cluster]
live_percentage = 50
add_secondary_max_count_for_one_node = 20
`})
}

// world is what a replay learns of the cluster. It is safe for concurrent use.
type world struct {
	cluster  cluster
	client   *clientlib.Client
	leader   string
	replicas []string // in address order

	mu      sync.Mutex
	appOf   map[string]int32 // by label
	labelOf map[int32]string
	made    map[string]int // creations by name
	configs map[string]*proto.QueryCfgResponse
}

func newWorld(t *testing.T, c cluster) *world {
	client, err := clientlib.Dial(clientlib.Options{Metas: c.Metas()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	w := &world{
		cluster: c, client: client, replicas: slices.Sorted(slices.Values(c.Replicas())),
		appOf: map[string]int32{}, labelOf: map[int32]string{}, made: map[string]int{},
		configs: map[string]*proto.QueryCfgResponse{},
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for w.leader == "" {
		for _, m := range c.Metas() {
			if isLeader(m) {
				w.leader = m
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("none of the meta servers %v is the leader", c.Metas())
		}
	}
	return w
}

// isLeader asks one meta server for a table that does not exist: only the leader knows that.
func isLeader(address string) bool {
	frame, mark := proto.AppendRequest(nil, proto.CodeCMQueryPartitionConfigByIndex, proto.GPID{}, 1, 1000, 0)
	frame = proto.FinishRequest(proto.AppendArgs(frame, &proto.QueryCfgRequest{AppName: "gm_no_such_table"}, 1), mark)
	resp, err := ask(address, proto.CodeCMQueryPartitionConfigByIndex.String(), frame)
	return err == nil && at(resp, "body.err") == "ERR_OBJECT_NOT_FOUND"
}

// ask sends one THFT frame with sequence id 1 on a connection of its own.
func ask(address, rpc string, frame []byte) (map[string]any, error) {
	link, err := dialLink(address, false)
	if err != nil {
		return nil, err
	}
	defer link.close()
	if err := link.send(frame, 0); err != nil {
		return nil, err
	}
	reply, outcome := link.await(1, time.Second)
	if outcome != golden.OutcomeReply {
		return nil, fmt.Errorf("%s: %s to %s", address, outcome, rpc)
	}
	return decode(false, rpc, reply)
}

// created gives a new app id its label: the name, or NAME#n for the n-th table of that name.
func (w *world) created(name string, id int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.labelOf[id]; known || id <= 0 {
		return
	}
	w.made[name]++
	label := name
	if n := w.made[name]; n > 1 {
		label = fmt.Sprintf("%s#%d", name, n)
	}
	w.appOf[label], w.labelOf[id] = id, label
}

// observe labels the table that a step created. resp is decoded and not yet normalised.
func (w *world) observe(s *golden.Step, resp map[string]any) {
	if s.RPC != "RPC_CM_CREATE_APP" || at(resp, "body.err") != "ERR_OK" {
		return
	}
	var req struct {
		Name string `json:"app_name"`
	}
	id, ok := at(resp, "body.appid").(json.Number)
	if n, err := id.Int64(); ok && err == nil && json.Unmarshal(s.Request, &req) == nil {
		w.created(req.Name, int32(n))
	}
}

// AppID is the app id of a table by its label.
func (w *world) AppID(label string) (int32, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id, ok := w.appOf[label]; ok {
		return id, nil
	}
	return 0, fmt.Errorf("table %q was not created", label)
}

// AppLabel is the inverse of AppID, "" for an id that is not known.
func (w *world) AppLabel(id int32) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.labelOf[id]
}

// Address returns "$replica" or "$meta" for the address of a server. Servers name themselves by host name in some
// fields and by IP in others; on this one machine the port tells them apart.
func (w *world) Address(text string) string {
	host, port, err := net.SplitHostPort(text)
	if err != nil || !isLocal(host) {
		return ""
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return ""
	}
	for _, a := range w.cluster.Metas() {
		if strings.HasSuffix(a, ":"+port) {
			return "$meta"
		}
	}
	for _, a := range w.replicas {
		if strings.HasSuffix(a, ":"+port) {
			return "$replica"
		}
	}
	return ""
}

func isLocal(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// resolve returns the address that a step goes to.
func (w *world) resolve(s *golden.Step) (string, error) {
	switch s.Target {
	case golden.TargetMeta:
		return w.leader, nil
	case golden.TargetReplica:
		return w.replicas[0], nil
	}
	cfg, err := w.config(s.Table)
	if err != nil {
		return "", err
	}
	if int(s.Partition) >= len(cfg.Partitions) {
		return "", fmt.Errorf("table %s has no partition %d", s.Table, s.Partition)
	}
	p := &cfg.Partitions[s.Partition]
	switch s.Target {
	case golden.TargetPrimary:
		if p.Primary.IsValid() {
			return p.Primary.String(), nil
		}
	case golden.TargetSecondary:
		if len(p.Secondaries) > 0 {
			return p.Secondaries[0].String(), nil
		}
	case golden.TargetNonmember:
		for _, a := range w.replicas {
			if a != p.Primary.String() && !slices.ContainsFunc(p.Secondaries, func(s proto.RPCAddress) bool { return s.String() == a }) {
				return a, nil
			}
		}
	}
	return "", fmt.Errorf("partition %v has no %s", p.PID, s.Target)
}

func (w *world) config(table string) (*proto.QueryCfgResponse, error) {
	w.mu.Lock()
	cfg := w.configs[table]
	w.mu.Unlock()
	if cfg != nil {
		return cfg, nil
	}
	cfg, err := w.client.QueryConfig(context.Background(), table)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", table, err)
	}
	w.mu.Lock()
	w.configs[table] = cfg
	w.mu.Unlock()
	return cfg, nil
}
