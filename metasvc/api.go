package metasvc

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/bytedance/sonic"

	"pegasus/metasvc/console"
	"pegasus/metasvc/core"
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
	script := s.fromMeta(req.Origin)
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
	w, more := s.watch, (*console.News)(nil)
	if name == "overview" || name == "events" {
		after, err := int64(0), error(nil)
		if text := args.Get("after"); text != "" {
			if after, err = strconv.ParseInt(text, 10, 64); err != nil {
				return httpfront.Text(400, "invalid after="+text)
			}
		}
		more = w.news(after)
	}
	key := args.Get(map[string]string{"table": "name", "node": "address"}[name])
	show := func(look func() (any, bool)) httpfront.Response {
		a, ok, err := w.answer(name+" "+key, look)
		switch {
		case err != nil:
			return httpfront.Text(500, err.Error())
		case !ok:
			return httpfront.Text(404, fmt.Sprintf("%s not found: %q", name, key))
		}
		return a.page(args.Get("etag"), s.loop.WallMicros()/1000, more)
	}
	switch name {
	case "overview":
		return show(func() (any, bool) { return w.look(), true })
	case "events":
		return apiAnswer(more)
	case "map":
		return show(func() (any, bool) { return w.clusterMap(), true })
	case "table":
		return show(func() (any, bool) { p, ok := w.partitions(key); return p, ok })
	case "node":
		return show(func() (any, bool) { n, ok := w.replicas(key); return n, ok })
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
