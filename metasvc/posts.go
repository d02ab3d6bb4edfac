package metasvc

import (
	"strconv"
	"strings"

	"pegasus/metasvc/core"
	"pegasus/netcore/httpfront"
	"pegasus/netcore/proto"
)

// Pages that change something. They answer when the change is stored.

// jsonText answers with a text that is JSON already.
func jsonText(reply func(httpfront.Response)) func(string) {
	return func(text string) { reply(httpfront.Response{Body: []byte(text + "\n")}) }
}

func (s *Server) pageJobs(c *pageCall, reply func(httpfront.Response)) {
	if c.path == "meta/jobs" {
		commands["jobs"].run(s, nil, jsonText(reply))
		return
	}
	commands["job"].run(s, []string{c.query.Get("id")}, jsonText(reply))
}

func (s *Server) pageNodeList(_ *pageCall, reply func(httpfront.Response)) {
	commands["node.list"].run(s, nil, jsonText(reply))
}

// post is the page that does what the console's change of that name does.
func post(name, want string) func(*Server, *pageCall, func(httpfront.Response)) {
	return func(s *Server, c *pageCall, reply func(httpfront.Response)) {
		if c.req.Method != "POST" || changes[name](s, c.req.Body, jsonText(reply)) != nil {
			reply(badRequest("want a POST of " + want))
		}
	}
}

// badStructure is the recorded answer to a body that is not what it ought to be. Bodies that are not announced as JSON are
// refused too, as there.
const badStructure = "invalid request structure"

func announced(c *pageCall) bool { return strings.HasPrefix(c.req.ContentType, "application/json") }

func (s *Server) postCompaction(c *pageCall, reply func(httpfront.Response)) {
	var body struct {
		AppName    string `json:"app_name"`
		Type       string `json:"type"`
		Level      int32  `json:"target_level"`
		Bottommost string `json:"bottommost_level_compaction"`
		MaxRunning int32  `json:"max_running_count"`
		Trigger    string `json:"trigger_time"`
	}
	if !announced(c) || !jsonBody(c, &body) || body.Type != "once" && body.Type != "periodic" || body.Level < -1 ||
		body.Bottommost != "skip" && body.Bottommost != "force" || body.MaxRunning < 0 {
		reply(badRequest(badStructure))
		return
	}
	if body.Type == "once" {
		r := &proto.StartAppManualCompactRequest{AppName: body.AppName, TargetLevel: &body.Level, MaxRunningCount: &body.MaxRunning}
		force := body.Bottommost == "force"
		r.Bottommost = &force
		if t, err := strconv.ParseInt(body.Trigger, 10, 64); err == nil {
			r.TriggerTime = &t
		}
		s.call(r, reply)
		return
	}
	keys := []string{"trigger_time", "target_level", "bottommost_level_compaction"}
	for i := range keys {
		keys[i] = "manual_compact.periodic." + keys[i]
	}
	s.call(&proto.UpdateAppEnvRequest{AppName: body.AppName, Op: proto.AppEnvOpSet, Keys: keys,
		Values: []string{body.Trigger, strconv.Itoa(int(body.Level)), body.Bottommost}}, reply)
}

func (s *Server) postScenario(c *pageCall, reply func(httpfront.Response)) {
	var body struct {
		AppName  string `json:"app_name"`
		Scenario string `json:"scenario"`
	}
	if !announced(c) || !jsonBody(c, &body) || body.Scenario != "normal" && body.Scenario != "bulk_load" {
		reply(badRequest(badStructure))
		return
	}
	s.call(&proto.UpdateAppEnvRequest{AppName: body.AppName, Op: proto.AppEnvOpSet, Keys: []string{"rocksdb.usage_scenario"},
		Values: []string{body.Scenario}}, reply)
}

// call carries out an RPC for a page and answers with its error and hint.
func (s *Server) call(args any, reply func(httpfront.Response)) {
	s.token++
	s.calls[s.token] = call{render: func(r *core.Reply) {
		err, hint := r.Err, ""
		switch b := r.Body.(type) {
		case *proto.StartAppManualCompactResponse:
			err, hint = b.Err, b.HintMsg
		case *proto.UpdateAppEnvResponse:
			err, hint = b.Err, b.HintMessage
		}
		reply(jsonPage(map[string]string{"error": err.String(), "hint_message": hint}))
	}}
	s.step(core.Request{Token: s.token, Args: args})
}
