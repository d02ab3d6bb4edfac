package httpfront

import (
	"fmt"
	"net/url"
	"strings"
)

// Request is one parsed request. It owns its memory and may be handed to another goroutine.
type Request struct {
	Method      string // GET or POST; OPTIONS if the parser lets it in
	Target      string // as sent, with the query
	ContentType string // of the body, as sent; often empty
	Origin      string // of the page whose script asks, as sent by browsers; often empty
	// RequestedWith is X-Requested-With, which no page can send to a server of another origin that does not allow it.
	RequestedWith string
	Body          []byte
	Close         bool // the client wants the connection closed after the answer

	expect bool
}

// Path returns the decoded path without empty segments and without a leading slash, the form under which handlers are
// registered: "/meta//apps/" is "meta/apps", "/" is "".
func (r *Request) Path() (string, error) {
	path, _ := r.split()
	path, err := unescape(path)
	if err != nil {
		return "", err
	}
	segments := strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
	return strings.Join(segments, "/"), nil
}

// Query returns the parameters; one without "=" has the value "". As Apache Pegasus does, it decodes the query as a
// whole before cutting it at "&", and leaves "+" alone. A name that occurs twice is an error there: see Duplicate.
func (r *Request) Query() (url.Values, error) {
	_, query := r.split()
	query, err := unescape(query)
	if err != nil {
		return nil, err
	}
	v := url.Values{}
	for part := range strings.SplitSeq(query, "&") {
		if part = strings.Trim(part, " "); part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		v.Add(name, value)
	}
	return v, nil
}

// Duplicate returns a name that occurs more than once in v, the first in alphabetical order, or "".
func Duplicate(v url.Values) string {
	found := ""
	for name, values := range v {
		if len(values) > 1 && (found == "" || name < found) {
			found = name
		}
	}
	return found
}

func (r *Request) split() (path, query string) {
	t, _, _ := strings.Cut(r.Target, "#")
	if rest, ok := strings.CutPrefix(t, "http://"); ok {
		t = rest[strings.IndexByte(rest, '/'):]
	}
	path, query, _ = strings.Cut(t, "?")
	return path, query
}

func unescape(s string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			out = append(out, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("httpfront: partial escape at the end of %.60q", s)
		}
		hi, lo := unhex(s[i+1]), unhex(s[i+2])
		if hi < 0 || lo < 0 {
			return "", fmt.Errorf("httpfront: %q is no hex value", s[i+1:i+3])
		}
		out = append(out, byte(hi<<4|lo))
		i += 2
	}
	return string(out), nil
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
