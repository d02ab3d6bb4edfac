package metasvc

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"pegasus/metasvc/core"
	"pegasus/netcore/httpfront"
	"pegasus/netcore/loop"
)

// serveHTTP answers the requests at the front of in.
func (s *Server) serveHTTP(ses *loop.Session, c *conn, in []byte) (n, need int, err error) {
	req, n, need, err := c.http.Next(in)
	if err != nil {
		if r, ok := httpfront.Refusal(err); ok {
			ses.SetOut(r.Append(ses.Out()))
		}
		return 0, 0, err
	}
	if req == nil {
		if c.http.WantsContinue() {
			ses.SetOut(httpfront.AppendContinue(ses.Out()))
		}
		return 0, need, nil
	}
	ref, closing, answered := ses.Ref(), req.Close, false
	s.page(req, func(r httpfront.Response) {
		ses := s.loop.Session(ref)
		if ses == nil {
			return
		}
		r.Close = closing
		ses.SetOut(r.Append(ses.Out()))
		if closing {
			ses.Close(nil)
		}
		if answered { // by now it had to wait
			ses.Release()
		}
		answered = true
	})
	if !answered {
		answered = true
		ses.Hold() // one request at a time
	}
	return n, 0, nil
}

// page makes the answer to a request: everything that is served is in memory and short, so it is made on the loop. What has to
// be stored first answers later.
func (s *Server) page(req *httpfront.Request, reply func(httpfront.Response)) {
	path, err := req.Path()
	if err != nil {
		reply(badRequest(err.Error()))
		return
	}
	switch req.Method {
	case "OPTIONS":
		reply(s.preflight(path, req))
		return
	case "POST":
		if why := s.forbids(path, req); why != "" {
			r := httpfront.Text(403, why+"\n")
			if s.fromMeta(req.Origin) {
				r.AllowOrigin = req.Origin
			}
			reply(r)
			return
		}
		if name, ok := cutFolder(path, "api/v1"); ok {
			s.change(name, req, reply)
			return
		}
	}
	if r, ok := s.consolePage(path, req); ok {
		reply(r)
		return
	}
	h, ok := pages[path]
	if !ok {
		reply(httpfront.Response{Status: 404, Body: fmt.Appendf(nil, "service not found for %q", path)})
		return
	}
	query, err := req.Query()
	if err != nil {
		reply(badRequest(err.Error()))
		return
	}
	if name := httpfront.Duplicate(query); name != "" {
		reply(badRequest("failed to parse request: ERR_INVALID_PARAMETERS: duplicate parameter: " + name))
		return
	}
	if strings.HasPrefix(path, "meta/") && s.core.Role() != core.Leading {
		s.redirect(req, reply)
		return
	}
	for name := range query {
		if h.strict && !slices.Contains(h.args, name) {
			reply(httpfront.Response{Status: 400})
			return
		}
	}
	h.serve(s, &pageCall{path, query, req}, reply)
}

// redirect sends a client to the leader.
func (s *Server) redirect(req *httpfront.Request, reply func(httpfront.Response)) {
	if !s.leader.Address.IsValid() || s.leader.Role != core.Following {
		reply(httpfront.Response{Status: 503, Body: []byte("the meta group has no leader at present")})
		return
	}
	reply(httpfront.Response{Status: 307, Location: "http://" + s.leaderAddress() + req.Target})
}

func badRequest(text string) httpfront.Response {
	return httpfront.Response{Status: 400, Body: []byte(text)}
}

func jsonPage(v any) httpfront.Response {
	body, err := json.Marshal(v)
	if err != nil {
		return httpfront.Response{Status: 500, Body: []byte(err.Error())}
	}
	return httpfront.Response{Body: append(body, '\n')}
}
