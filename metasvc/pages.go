package metasvc

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pegasus/metasvc/core"
	"pegasus/netcore/httpfront"
	"pegasus/netcore/proto"
)

// pageCall is a request for a page.
type pageCall struct {
	path  string
	query url.Values
	req   *httpfront.Request
}

// handler is a page. A strict one refuses parameters that it does not know.
type handler struct {
	help   string
	strict bool
	args   []string
	serve  func(s *Server, c *pageCall, reply func(httpfront.Response))
}

// pages by path; names, parameters and texts are those of Apache Pegasus (spec tools 4), as far as it has them.
var pages map[string]handler

func init() {
	one := func(page func(s *Server, c *pageCall) httpfront.Response) func(*Server, *pageCall, func(httpfront.Response)) {
		return func(s *Server, c *pageCall, reply func(httpfront.Response)) { reply(page(s, c)) }
	}
	pages = map[string]handler{
		"":                {help: "List all supported calls.", serve: one(listPages)},
		"version":         {help: "Query the server version.", serve: one((*Server).pageVersion)},
		"recentStartTime": {help: "Query the server start time.", serve: one((*Server).pageStarted)},
		"envs/list":       {help: "List all available table environments.", serve: one(pageEnvs)},
		"meta/app":        {"name=<app_name>[&detail]. Query app info.", true, []string{"name", "detail"}, one((*Server).pageApp)},
		"meta/apps":       {"[detail]. List all apps in the cluster.", true, []string{"detail"}, one((*Server).pageApps)},
		"meta/nodes":      {"[detail]. Query the replica servers info.", true, []string{"detail"}, one((*Server).pageNodes)},
		"meta/cluster":    {help: "Query the cluster info.", serve: one((*Server).pageCluster)},
		"meta/app_envs":   {help: "name=<app_name>. Query app environments.", serve: one((*Server).pageAppEnvs)},
		"meta/app/start_compaction": {help: "A JSON format of manual_compaction_info structure. Start compaction for an app.",
			serve: (*Server).postCompaction},
		"meta/app/usage_scenario": {help: "A JSON format of usage_scenario_info structure. Update usage scenario of an app.",
			serve: (*Server).postScenario},
		"meta/jobs":        {help: "List the jobs.", serve: (*Server).pageJobs},
		"meta/job":         {help: "id=<id>. Query a job.", serve: (*Server).pageJobs},
		"meta/job/start":   {help: "A JSON format of {kind, node, table}. Start a job.", serve: post("job/start", `{"kind": ..., "node": ..., "table": ...}`)},
		"meta/job/control": {help: "A JSON format of {id, action}. Pause, resume or cancel a job.", serve: post("job/control", `{"id": ..., "action": ...}`)},
		"meta/node/list":   {help: "List the replica servers with their modes and zones.", serve: (*Server).pageNodeList},
		"meta/members":     {help: "List the members of the meta group.", serve: (*Server).pageMembers},
		"config":           {help: "name=<config_name>. Gets the details of a specified config.", serve: one(func(s *Server, c *pageCall) httpfront.Response { return s.config.One(c.query) })},
		"configs":          {help: "List all configs.", serve: one(func(s *Server, _ *pageCall) httpfront.Response { return s.config.All() })},
		"updateConfig":     {help: "<key>=<value>. Update the config to the new value.", serve: one(func(s *Server, c *pageCall) httpfront.Response { return s.config.Update(c.query) })},
		"metrics": {help: "[with_metric_fields=field1,field2,...][&types=type1,type2,...][&ids=id1,id2,...][&attributes=attr1,value1,attr2,value2,...][&metrics=metric1,metric2,...][&detail=true|false]Query the node metrics. Without a query: in the format of Prometheus.",
			serve: (*Server).pageMetrics},
		"meta/backup": {help: "Download the state of the cluster as one file.", serve: one((*Server).pageBackup)},
	}
}

func listPages(*Server, *pageCall) httpfront.Response {
	list := make(map[string]string, len(pages))
	for path, h := range pages {
		list["/"+path] = h.help
	}
	return jsonPage(list)
}

func (s *Server) pageVersion(*pageCall) httpfront.Response {
	return jsonPage(struct{ Version, GitCommit string }{s.opt.Version, s.opt.Commit})
}

func (s *Server) pageStarted(*pageCall) httpfront.Response {
	return jsonPage(map[string]string{"RecentStartTime": s.started.Format(time.DateTime)})
}

func pageEnvs(*Server, *pageCall) httpfront.Response {
	return httpfront.Response{Body: []byte(pretty(core.EnvHelp()) + "\n")}
}

// table is how Apache Pegasus shows tables in JSON: values are strings.
type table map[string]any

func (s *Server) pageApp(c *pageCall) httpfront.Response {
	name := c.query.Get("name")
	v := s.core.ViewApp(name)
	if v == nil {
		return httpfront.Response{Status: 404, Body: fmt.Appendf(nil, "table not found: %q", name)}
	}
	out := table{"general": table{
		"app_name": name, "app_id": itoa(v.Info.AppID), "partition_count": itoa(v.Info.PartitionCount),
		"max_replica_count": itoa(v.Info.MaxReplicaCount),
	}}
	if _, detail := c.query["detail"]; detail {
		replicas, nodes := table{}, table{}
		perNode := map[string][2]int{}
		var all [2]int
		for _, p := range v.Partitions {
			primary := ""
			if p.HPPrimary.IsValid() {
				primary = p.HPPrimary.String()
				n := perNode[primary]
				perNode[primary] = [2]int{n[0] + 1, n[1]}
				all[0]++
			}
			var secondaries []string
			for _, h := range p.HPSecondaries {
				secondaries = append(secondaries, h.String())
				n := perNode[h.String()]
				perNode[h.String()] = [2]int{n[0], n[1] + 1}
				all[1]++
			}
			members := len(secondaries)
			if primary != "" {
				members++
			}
			replicas[itoa(p.PID.Part)] = table{
				"pidx": itoa(p.PID.Part), "ballot": strconv.FormatInt(int64(p.Ballot), 10),
				"replica_count": fmt.Sprintf("%d/%d", members, p.MaxReplicaCount), "primary": primary,
				"secondaries": "[" + strings.Join(secondaries, ",") + "]",
			}
		}
		for node, n := range perNode {
			nodes[node] = nodeRow(node, n)
		}
		nodes["total"] = nodeRow("total", all)
		out["replicas"], out["nodes"] = replicas, nodes
		out["healthy"] = healthRow(v)
	}
	return jsonPage(out)
}

func nodeRow(node string, n [2]int) table {
	return table{"node": node, "primary": strconv.Itoa(n[0]), "secondary": strconv.Itoa(n[1]), "total": strconv.Itoa(n[0] + n[1])}
}

func healthRow(v *core.AppView) table {
	return table{
		"fully_healthy_partition_count":   strconv.Itoa(v.Healthy),
		"unhealthy_partition_count":       strconv.Itoa(len(v.Partitions) - v.Healthy),
		"write_unhealthy_partition_count": strconv.Itoa(v.Unwritable),
		"read_unhealthy_partition_count":  strconv.Itoa(v.Unreadable),
	}
}

func itoa(n int32) string { return strconv.Itoa(int(n)) }

func date(seconds int64) string {
	return time.Unix(seconds, 0).Format("2006-01-02_15:04:05")
}

func (s *Server) pageApps(c *pageCall) httpfront.Response {
	_, detail := c.query["detail"]
	general, healthy := table{}, table{}
	count, well, unwritable, unreadable := 0, 0, 0, 0
	for _, info := range s.core.ListApps() {
		count++
		dropped, expires := "-", "-"
		if info.Status == proto.AppDropped {
			dropped, expires = date(info.DropSecond), date(info.ExpireSecond)
		}
		general[itoa(info.AppID)] = table{
			"app_id": itoa(info.AppID), "status": strings.TrimPrefix(info.Status.String(), "AS_"), "app_name": info.AppName,
			"app_type": info.AppType, "partition_count": itoa(info.PartitionCount), "replica_count": itoa(info.MaxReplicaCount),
			"is_stateful": strconv.FormatBool(info.IsStateful), "create_time": date(info.CreateSecond), "drop_time": dropped,
			"drop_expire": expires, "envs_count": strconv.Itoa(len(info.Envs)),
		}
		if !detail || info.Status != proto.AppAvailable {
			continue
		}
		v := s.core.ViewApp(info.AppName)
		healthy[itoa(info.AppID)] = table{
			"app_id": itoa(info.AppID), "app_name": info.AppName, "partition_count": itoa(info.PartitionCount),
			"fully_healthy": strconv.Itoa(v.Healthy), "unhealthy": strconv.Itoa(len(v.Partitions) - v.Healthy),
			"write_unhealthy": strconv.Itoa(v.Unwritable), "read_unhealthy": strconv.Itoa(v.Unreadable),
		}
		if v.Healthy == len(v.Partitions) {
			well++
		}
		unwritable += min(1, v.Unwritable)
		unreadable += min(1, v.Unreadable)
	}
	summary := table{"total_app_count": strconv.Itoa(count)}
	out := table{"general_info": general, "summary": summary}
	if detail {
		out["healthy_info"] = healthy
		summary["fully_healthy_app_count"] = strconv.Itoa(well)
		summary["unhealthy_app_count"] = strconv.Itoa(len(healthy) - well)
		summary["write_unhealthy_app_count"] = strconv.Itoa(unwritable)
		summary["read_unhealthy_app_count"] = strconv.Itoa(unreadable)
	}
	return jsonPage(out)
}

func (s *Server) pageNodes(c *pageCall) httpfront.Response {
	_, detail := c.query["detail"]
	details := table{}
	alive, all := 0, 0
	for _, n := range s.core.ViewNodes() {
		all++
		row := table{"address": n.Address, "status": "UNALIVE"}
		if n.Alive {
			alive++
			row["status"] = "ALIVE"
		}
		if detail {
			row["replica_count"] = strconv.Itoa(n.Replicas)
			row["primary_count"] = strconv.Itoa(n.Primaries)
			row["secondary_count"] = strconv.Itoa(n.Replicas - n.Primaries)
		}
		details[n.Address] = row
	}
	return jsonPage(table{"details": details, "summary": table{
		"total_node_count": strconv.Itoa(all), "alive_node_count": strconv.Itoa(alive), "unalive_node_count": strconv.Itoa(all - alive),
	}})
}

func (s *Server) pageCluster(*pageCall) httpfront.Response {
	info := s.core.ClusterInfo()
	out := table{}
	for i, k := range info.Keys {
		if k != "cluster_name" {
			out[k] = info.Values[i]
		}
	}
	return jsonPage(out)
}

func (s *Server) pageAppEnvs(c *pageCall) httpfront.Response {
	name := c.query.Get("name")
	if name == "" {
		return badRequest("app name shouldn't be empty")
	}
	envs := map[string]string{}
	if a := s.core.State().AppByName(name); a != nil {
		envs = a.Info.Envs
	}
	return jsonPage(envs)
}

func (s *Server) pageMembers(_ *pageCall, reply func(httpfront.Response)) {
	s.cmdMembers(nil, func(text string) { reply(httpfront.Response{Body: []byte(text + "\n")}) })
}

func (s *Server) pageBackup(*pageCall) httpfront.Response {
	return httpfront.Response{ContentType: "application/octet-stream", Body: s.backup(time.Now())}
}

// jsonBody reads the body of a POST into v.
func jsonBody(c *pageCall, v any) bool {
	return c.req.Method == "POST" && json.Unmarshal(c.req.Body, v) == nil
}
