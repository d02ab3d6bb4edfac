package metasvc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bytedance/sonic"

	"pegasus/metasvc/console"
	"pegasus/metasvc/core"
	"pegasus/metasvc/journal"
	"pegasus/netcore/httpfront"
)

// The console and its data: /console/..., served by every meta, and /api/v1/..., answered by the leader. Scripts of the console
// may read the answers of all metas, whichever of them they come from, so that a console survives its meta.

// consolePage answers requests below those two paths; ok is false for all others.
func (s *Server) consolePage(path string, req *httpfront.Request) (r httpfront.Response, ok bool) {
	if path == "console" && !strings.HasSuffix(strings.SplitN(req.Target, "?", 2)[0], "/") {
		return httpfront.Response{Status: 307, Location: "/console/"}, true // names in the page are relative
	}
	if name, below := cutFolder(path, "console"); below {
		if r, ok = console.Page(name); !ok {
			r = httpfront.Text(404, fmt.Sprintf("no file %q in the console", name))
		}
		return r, true
	}
	name, below := cutFolder(path, "api/v1")
	if !below {
		return r, false
	}
	script := slices.ContainsFunc(s.members, func(m journal.Member) bool { return req.Origin == "http://"+m.ID })
	r = s.api(name, req, script)
	r.NoStore = true
	if script {
		r.AllowOrigin = req.Origin
	}
	return r, true
}

func cutFolder(path, folder string) (name string, ok bool) {
	if path == folder {
		return "", true
	}
	return strings.CutPrefix(path, folder+"/")
}

func (s *Server) api(name string, req *httpfront.Request, script bool) httpfront.Response {
	args, err := req.Query()
	if err != nil {
		return httpfront.Text(400, err.Error())
	}
	if s.core.Role() != core.Leading {
		return s.toLeader(req, script)
	}
	switch name {
	case "overview", "events":
		after, err := uint64(0), error(nil)
		if text := args.Get("after"); text != "" {
			if after, err = strconv.ParseUint(text, 10, 64); err != nil {
				return httpfront.Text(400, "invalid after="+text)
			}
		}
		if name == "events" {
			list, last := s.watch.log.After(after)
			return apiAnswer(map[string]any{"events": list, "last_event": last})
		}
		return apiAnswer(s.watch.overview(after))
	case "map":
		return apiAnswer(s.watch.clusterMap())
	case "table":
		if p, ok := s.watch.partitions(args.Get("name")); ok {
			return apiAnswer(p)
		}
		return httpfront.Text(404, fmt.Sprintf("table not found: %q", args.Get("name")))
	case "node":
		if n, ok := s.watch.replicas(args.Get("address")); ok {
			return apiAnswer(n)
		}
		return httpfront.Text(404, fmt.Sprintf("node not found: %q", args.Get("address")))
	}
	return httpfront.Text(404, fmt.Sprintf("service not found for %q", "api/v1/"+name))
}

// toLeader sends the client to the meta that knows. A browser does not follow a redirect from one foreign origin to another and
// come out with its own; its script is told in words.
func (s *Server) toLeader(req *httpfront.Request, script bool) httpfront.Response {
	a := s.leaderAddress()
	if a == s.opt.Advertise {
		a = "" // elected, and not ready yet
	}
	if script {
		return apiAnswer(map[string]string{"elsewhere": a})
	}
	if a != "" {
		return httpfront.Response{Status: 307, Location: "http://" + a + req.Target}
	}
	return httpfront.Text(503, "the meta group has no leader at present\n")
}

func apiAnswer(v any) httpfront.Response {
	body, err := sonic.ConfigStd.Marshal(v)
	if err != nil {
		return httpfront.Text(500, err.Error())
	}
	return httpfront.Response{ContentType: "application/json", Body: body}
}
