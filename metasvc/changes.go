package metasvc

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"pegasus/metasvc/core"
	"pegasus/metasvc/journal"
	"pegasus/netcore/httpfront"
	"pegasus/netcore/proto"
)

// What the console changes: POST /api/v1/..., carried out by the leader. The port knows no users, so what must be kept out is a page
// of somebody else in the browser of somebody who can reach the metas. Three things do: the switch console.changes, which is off
// unless the configuration says otherwise; the origin of the page, which browsers do not let it lie about, must be a meta's (which
// also defeats a name that is made to point here); and a header and a content type that a page cannot send elsewhere unasked. The
// console itself is not shown inside other pages, so that nobody is made to press its buttons unawares.

const consoleHeader = "pegasus-console" // as X-Requested-With

// changes by name: what decodes the body and carries it out.
var changes = map[string]func(s *Server, body []byte, reply func(string)) error{
	"job/start": func(s *Server, body []byte, reply func(string)) error {
		var b struct{ Kind, Node, Table string }
		if err := json.Unmarshal(body, &b); err != nil {
			return err
		}
		s.ask(&core.StartRequest{Kind: b.Kind, Node: b.Node, Table: b.Table}, reply, oneJob)
		return nil
	},
	"job/control": func(s *Server, body []byte, reply func(string)) error {
		var b struct {
			ID     int64
			Action string
		}
		if err := json.Unmarshal(body, &b); err != nil {
			return err
		}
		s.ask(&core.JobRequest{ID: b.ID, Action: b.Action}, reply, oneJob)
		return nil
	},
	"node/return": func(s *Server, body []byte, reply func(string)) error {
		var b struct{ Node string }
		if err := json.Unmarshal(body, &b); err != nil {
			return err
		}
		s.ask(&core.ReturnRequest{Node: b.Node}, reply, func(*core.AdminResponse) any { return map[string]string{"error": "ok"} })
		return nil
	},
	"level": func(s *Server, body []byte, reply func(string)) error {
		var b struct{ Level string }
		if err := json.Unmarshal(body, &b); err != nil {
			return err
		}
		level, ok := Levels[b.Level]
		if !ok {
			return fmt.Errorf("level %q: want one of %s", b.Level, strings.Join(slices.Sorted(maps.Keys(Levels)), ", "))
		}
		s.setLevel(level, reply)
		return nil
	},
}

// Levels by the words that configurations and requests have for them.
var Levels = map[string]proto.MetaFunctionLevel{
	"stopped": proto.LevelStopped, "blind": proto.LevelBlind, "freezed": proto.LevelFreezed, "steady": proto.LevelSteady,
	"lively": proto.LevelLively,
}

func (s *Server) setLevel(level proto.MetaFunctionLevel, reply func(string)) {
	s.token++
	s.calls[s.token] = call{render: func(r *core.Reply) {
		err := r.Err
		if b, ok := r.Body.(*proto.MetaControlResponse); ok {
			err = b.Err
		}
		if err != proto.ErrOK {
			reply(failure("%v", err))
			return
		}
		reply(pretty(map[string]string{"error": "ok"}))
	}}
	s.step(core.Request{Token: s.token, Args: &proto.MetaControlRequest{Level: level}})
}

// fromMeta tells whether a script belongs to a page of a meta.
func (s *Server) fromMeta(origin string) bool {
	return slices.ContainsFunc(s.members, func(m journal.Member) bool { return origin == "http://"+m.ID })
}

// forbids says why a POST is refused, "" when it is not. Scripts that are no browser's send no origin; to them the pages below
// meta/ are as open as the RPCs that do the same.
func (s *Server) forbids(path string, req *httpfront.Request) string {
	_, console := cutFolder(path, "api/v1")
	switch {
	case !console && req.Origin == "":
		return ""
	case !s.opt.Changes:
		return `the console may not change anything here: console.changes is "no" in the configuration of this meta`
	case req.Origin != "" && !s.fromMeta(req.Origin):
		return fmt.Sprintf("changes are taken from the metas' own pages only, not from those of %s: open http://%s/console/", req.Origin, s.opt.Advertise)
	case !strings.HasPrefix(req.ContentType, "application/json"):
		return "want Content-Type: application/json"
	case console && req.RequestedWith != consoleHeader:
		return "want X-Requested-With: " + consoleHeader
	}
	return ""
}

// preflight answers the question of a browser whether a page of another meta may do what the console does.
func (s *Server) preflight(path string, req *httpfront.Request) httpfront.Response {
	if _, console := cutFolder(path, "api/v1"); !console || !s.fromMeta(req.Origin) {
		return httpfront.Text(403, "only pages of the metas may ask\n")
	}
	return httpfront.Response{Status: 204, AllowOrigin: req.Origin, AllowHeaders: "content-type, x-requested-with"}
}

// change carries out a POST below api/v1 that nothing forbids. A meta that does not lead sends on, as it does with questions.
func (s *Server) change(name string, req *httpfront.Request, reply func(httpfront.Response)) {
	script := s.fromMeta(req.Origin)
	answer := func(r httpfront.Response) {
		r.NoStore = true
		if script {
			r.AllowOrigin = req.Origin
		}
		reply(r)
	}
	do := changes[name]
	switch {
	case do == nil:
		answer(httpfront.Text(404, fmt.Sprintf("no change %q", name)))
		return
	case s.core.Role() != core.Leading:
		answer(s.toLeader(req, script))
		return
	}
	s.log.Info("change by the console", zap.String("what", name), zap.ByteString("body", req.Body[:min(len(req.Body), 1024)]), zap.String("origin", req.Origin))
	err := do(s, req.Body, func(text string) {
		answer(httpfront.Response{ContentType: "application/json", Body: []byte(text + "\n")})
	})
	if err != nil {
		answer(httpfront.Text(400, err.Error()))
	}
}
