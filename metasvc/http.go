package metasvc

import (
	"encoding/json"
	"fmt"

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
	r := s.page(req)
	r.Close = req.Close
	ses.SetOut(r.Append(ses.Out()))
	if req.Close {
		ses.Close(nil)
	}
	return n, 0, nil
}

// page makes the answer to a request. Everything served is in memory and short, so it is made on the loop.
func (s *Server) page(req *httpfront.Request) httpfront.Response {
	path, err := req.Path()
	if err != nil {
		return httpfront.Response{Status: 400, Body: []byte(err.Error())}
	}
	if r, ok := s.consolePage(path, req); ok {
		return r
	}
	switch path {
	case "":
		return jsonPage(map[string]string{"/": "List all supported calls.", "/version": "Query the server version."})
	case "version":
		return jsonPage(struct{ Version, GitCommit string }{s.opt.Version, s.opt.Commit})
	}
	return httpfront.Response{Status: 404, Body: fmt.Appendf(nil, "service not found for %q", path)}
}

func jsonPage(v any) httpfront.Response {
	body, err := json.Marshal(v)
	if err != nil {
		return httpfront.Response{Status: 500, Body: []byte(err.Error())}
	}
	return httpfront.Response{Body: append(body, '\n')}
}
