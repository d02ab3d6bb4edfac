package shard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"pegasus/consensus"
	"pegasus/netcore/httpfront"
	"pegasus/netcore/loop"
	"pegasus/netcore/metric/export"
	"pegasus/netcore/proto"
)

// The HTTP side of the port. A page is made in a lane, off the loops, and its session reads no further request meanwhile: pages
// are of any size, and requests that come together are answered in their order.

const (
	pageWorkers = 1
	pageQueue   = 64
)

// pageDone brings a page back to the session that wants it.
type pageDone struct {
	ref      loop.Ref
	response httpfront.Response
}

func (p *pageDone) deliver(sh *Shard) {
	s := sh.loop.Session(p.ref)
	if s == nil {
		return
	}
	s.SetOut(p.response.Append(s.Out()))
	if p.response.Close {
		s.Close(nil)
		return
	}
	s.Release()
}

// serveHTTP takes one request; the next one when that is answered.
func (sh *Shard) serveHTTP(s *loop.Session, st *sessionState, in []byte) (consumed, need int, err error) {
	req, n, more, err := st.http.Next(in)
	if err != nil {
		if refusal, ok := httpfront.Refusal(err); ok {
			s.SetOut(refusal.Append(s.Out()))
		}
		return n, 0, err
	}
	if req == nil {
		if st.http.WantsContinue() {
			s.SetOut(httpfront.AppendContinue(s.Out()))
		}
		return n, more, nil
	}
	ref := s.Ref()
	s.Hold()
	err = sh.node.pages.Submit(func() {
		done := &pageDone{ref: ref, response: sh.node.page(req)}
		done.response.Close = req.Close
		done.response.AllowOrigin = sh.node.consoleOrigin(req.Origin)
		sh.deliverLater(done)
	})
	if err != nil {
		busy := &pageDone{ref: ref, response: httpfront.Response{Status: 503, Body: []byte("too many pages are being made\n"), Close: req.Close}}
		busy.deliver(sh)
	}
	return n, 0, nil
}

// pageHelp are the pages with what / says of them. The texts of those that Apache Pegasus has are its own.
var pageHelp = map[string]string{
	"/":                          "List all supported calls.",
	"/version":                   "Query the server version.",
	"/recentStartTime":           "Get the server start time.",
	"/config":                    "name=<config_name>. Gets the details of a specified config.",
	"/configs":                   "List all configs.",
	"/updateConfig":              "<key>=<value>. Update the config to the new value.",
	"/metrics":                   "[with_metric_fields=field1,field2,...][&types=type1,type2,...][&ids=id1,id2,...][&attributes=attr1,value1,attr2,value2,...][&metrics=metric1,metric2,...][&detail=true|false]Query the node metrics. Without a query: in the format of Prometheus.",
	"/metrics/partitions":        "The metrics in the format of Prometheus, with those of every replica.",
	"/slow":                      "[count=<n>][&seen=<total>]. The requests that were slow, and where their time went.",
	"/hotkey":                    "app_id=<app_id>&partition=<n>&type=read|write. How a hot-key detection stands; a POST with action=start|stop begins and ends it.",
	"/replica/manual_compaction": "app_id=<app_id>. Query the progress of manual compactions of an app.",
	"/replica/data_version":      "app_id=<app_id>. Query the data version of an app.",
}

// consoleOrigin lets the consoles of the metas, and nobody else's scripts, read pages.
func (n *Node) consoleOrigin(origin string) string {
	if address, ok := strings.CutPrefix(origin, "http://"); ok && slices.Contains(n.opts.Metas, address) {
		return origin
	}
	return ""
}

// newConfig shows the configuration of the node. Pages are made one at a time, which is what it asks for.
func (n *Node) newConfig() *httpfront.Config {
	return httpfront.NewConfig(n.opts.ConfigText, map[string]func(string) error{
		"requests.slow_threshold": func(value string) error {
			d, err := time.ParseDuration(value)
			if err != nil || d < 0 || d > time.Hour {
				return fmt.Errorf("%q: want a duration of 0s to 1h", value)
			}
			n.slowAfter.Store(int64(d))
			for _, sh := range n.shards {
				sh.deliverLater(&slowChanged{})
			}
			return nil
		},
	})
}

// page makes the answer to a request. It may be called from any goroutine but that of a loop.
func (n *Node) page(req *httpfront.Request) httpfront.Response {
	path, err := req.Path()
	if err != nil {
		return httpfront.Text(400, err.Error())
	}
	args, err := req.Query()
	if err != nil {
		return httpfront.Text(400, err.Error())
	}
	if name := httpfront.Duplicate(args); name != "" {
		return httpfront.Text(400, "failed to parse request: ERR_INVALID_PARAMETERS: duplicate parameter: "+name)
	}
	switch path {
	case "":
		return jsonPage(pageHelp)
	case "version":
		return jsonPage(struct{ Version, GitCommit string }{Version, Commit})
	case "recentStartTime":
		return jsonPage(struct{ RecentStartTime string }{n.started.Format("2006-01-02 15:04:05")})
	case "config":
		return n.config.One(args)
	case "configs":
		return n.config.All()
	case "updateConfig":
		return n.config.Update(args)
	case "metrics":
		if export.Wants(req) {
			return export.Query(req, n.process(), n.collector.entities)
		}
		return n.prometheus(false)
	case "metrics/partitions":
		return n.prometheus(true)
	case "slow":
		return n.slowPage(args.Get("count"), args.Get("seen"))
	case "hotkey":
		return n.hotkeyPage(req, args)
	case "replica/manual_compaction":
		return n.compactionPage(args.Get("app_id"))
	case "replica/data_version":
		return n.dataVersionPage(args.Get("app_id"))
	}
	return httpfront.Text(404, fmt.Sprintf("service not found for %q", path))
}

func jsonPage(v any) httpfront.Response {
	body, err := json.Marshal(v)
	if err != nil {
		return httpfront.Text(500, err.Error())
	}
	return httpfront.Response{Body: append(body, '\n')}
}

// process says whose metrics these are.
func (n *Node) process() export.Process {
	host, err := os.Hostname()
	if err != nil {
		host = n.advertised.Host
	}
	return export.Process{Cluster: n.opts.ClusterName, Role: "replica", Host: host, Port: int(n.advertised.Port)}
}

func (n *Node) prometheus(perReplica bool) httpfront.Response {
	text, err := n.collector.export.Text(func(f *export.Families) { n.collector.families(f, perReplica) })
	if err != nil {
		return httpfront.Text(500, err.Error())
	}
	return httpfront.Response{ContentType: export.ContentType, Body: text}
}

// slowEntry is a slowRequest in JSON. Times are in microseconds.
type slowEntry struct {
	Seq     uint64           `json:"seq"`
	At      string           `json:"at"`
	GPID    string           `json:"gpid"`
	Table   string           `json:"table"`
	Op      string           `json:"op"`
	HashKey string           `json:"hash_key"` // as a Go string literal without the quotes
	SortKey string           `json:"sort_key"`
	Total   int64            `json:"total_us"`
	Stages  map[string]int64 `json:"stages_us"`
	Bytes   int              `json:"bytes"`
	Members int              `json:"members"`
	Result  string           `json:"result"`
	Traced  bool             `json:"traced"`
}

// slowPage answers 204 to who has seen as many as there have been.
func (n *Node) slowPage(count, seen string) httpfront.Response {
	want := slowKept
	if count != "" {
		v, err := strconv.Atoi(count)
		if err != nil || v < 1 {
			return httpfront.Text(400, "invalid count="+count)
		}
		want = v
	}
	entries, total := n.slow.newest(want)
	if seen == strconv.FormatUint(total, 10) {
		return httpfront.Response{Status: 204}
	}
	out := struct {
		Total    uint64      `json:"total"`
		Requests []slowEntry `json:"requests"`
	}{total, make([]slowEntry, 0, len(entries))}
	for i := range entries {
		r := &entries[i]
		e := slowEntry{
			Seq: r.seq, At: r.at.Format("2006-01-02T15:04:05.000Z07:00"), GPID: r.gpid.String(), Table: r.table, Op: kindNames[r.kind],
			HashKey: literal(r.hashKey), SortKey: literal(r.sortKey), Total: r.total / 1000, Stages: map[string]int64{},
			Bytes: r.bytes, Members: r.members, Result: r.result, Traced: r.traced,
		}
		for _, s := range r.stages.named() {
			e.Stages[s.name] = s.nanos / 1000
		}
		out.Requests = append(out.Requests, e)
	}
	return jsonPage(&out)
}

func literal(key []byte) string {
	q := strconv.Quote(string(key))
	return q[1 : len(q)-1]
}

// appID reads the parameter of the pages below /replica.
func appID(name, text string) (id int32, refusal *httpfront.Response) {
	if text == "" {
		r := httpfront.Text(400, name+" should not be empty")
		return 0, &r
	}
	v, err := strconv.ParseInt(text, 10, 32)
	if err != nil || v < 0 {
		r := httpfront.Text(400, "invalid "+name+"="+text)
		return 0, &r
	}
	return int32(v), nil
}

// replicasOf lists the replicas of a table here that keep lets through.
func (n *Node) replicasOf(app int32, keep func(*replicaCensus) bool) []proto.GPID {
	var list []proto.GPID
	n.collector.look(func(_ *census, r *replicaCensus) {
		if r.gpid.App == app && keep(r) {
			list = append(list, r.gpid)
		}
	})
	slices.SortFunc(list, proto.GPID.Compare)
	return list
}

// compactionPage counts the replicas of a table by the state of their manual compaction.
func (n *Node) compactionPage(app string) httpfront.Response {
	id, refusal := appID("app_id", app)
	if refusal != nil {
		return *refusal
	}
	counts := map[string]int{"idle": 0, "queuing": 0, "running": 0, "finished": 0}
	n.collector.look(func(_ *census, r *replicaCensus) {
		if r.gpid.App == id {
			counts[strings.ToLower(r.compaction.String())]++
		}
	})
	r := jsonPage(map[string]map[string]int{"status": counts})
	r.Body = bytes.TrimSuffix(r.Body, []byte("\n")) // recorded
	return r
}

func (n *Node) dataVersionPage(app string) httpfront.Response {
	id, refusal := appID("app_id", app)
	if refusal != nil {
		return *refusal
	}
	list := n.replicasOf(id, func(r *replicaCensus) bool {
		return r.state == replicaOpen && consensus.Role(r.role) == consensus.Primary
	})
	if len(list) == 0 {
		return httpfront.Text(404, fmt.Sprintf("app_id=%d not found", id))
	}
	out := map[string]map[string]string{}
	for _, g := range list {
		out[strconv.Itoa(int(g.Part))] = map[string]string{"data_version": "1"} // the only one that is written here
	}
	return jsonPage(out)
}
