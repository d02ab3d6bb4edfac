// Package httpfront reads HTTP/1.1 requests out of a byte stream and writes responses into one. It serves the admin
// and metrics pages that share the RPC port. It knows no socket, no goroutine and no path: who owns the connection
// feeds a Parser, runs the handler wherever it may block, and appends the response.
//
// It is deliberately less than net/http: GET and POST (and OPTIONS where it is wanted), bodies with Content-Length, no chunked encoding, no trailers, no
// upgrade. net/http itself cannot be used because it wants to own the connection and block on it.
package httpfront

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Limits of a request.
const (
	MaxHead    = 64 << 10 // bytes of request line and headers
	MaxBody    = 1 << 20
	maxHeaders = 256
)

// Errors of Next. All of them end the connection; Refusal tells which deserve an answer first.
var (
	ErrSyntax   = errors.New("httpfront: not an HTTP request")
	ErrMethod   = errors.New("httpfront: does not begin with GET or POST")
	ErrHeadSize = errors.New("httpfront: request line and headers too long")
	ErrBodySize = errors.New("httpfront: body too long")
	ErrEncoding = errors.New("httpfront: transfer encodings are not supported")
)

// Parser reads the requests of one connection. The zero value is ready.
type Parser struct {
	// Preflight lets OPTIONS in, the question of a browser whether a script may do what it is about to.
	Preflight bool

	scanned  int // bytes known not to complete the head, so that fragments are looked at once
	continu  bool
	promised bool // the client was told to go on
}

// Next parses the request at the front of in, which holds everything received and not yet consumed. It returns
//   - a request and the bytes it took, or
//   - a nil request, 0, and need: the length of in without which another call makes no sense (0: not known), or
//   - an error, after which the connection is useless.
//
// The request owns its memory; in may be reused.
func (p *Parser) Next(in []byte) (req *Request, consumed, need int, err error) {
	skip := 0
	for skip < len(in) && skip < 4 && (in[skip] == '\r' || in[skip] == '\n') {
		skip++ // old clients end a body with an extra line break
	}
	head, err := p.findHead(in[skip:])
	if head < 0 || err != nil {
		return nil, 0, 0, err
	}
	r, length, err := parseHead(in[skip : skip+head])
	if err != nil {
		return nil, 0, 0, err
	}
	total := skip + head + length
	if len(in) < total {
		p.continu = r.expect && !p.promised
		return nil, 0, total, nil
	}
	if length > 0 {
		r.Body = bytes.Clone(in[skip+head : total])
	}
	*p = Parser{Preflight: p.Preflight}
	return r, total, 0, nil
}

// WantsContinue tells, once per request, that the client waits for AppendContinue before it sends the body.
func (p *Parser) WantsContinue() bool {
	if !p.continu {
		return false
	}
	p.continu, p.promised = false, true
	return true
}

// findHead returns the length of the head including the empty line, -1 when it is not complete.
func (p *Parser) findHead(in []byte) (int, error) {
	// What cannot become a request is refused at once and not when 64 KiB of it are there.
	if !agree(in, "GET ") && !agree(in, "POST ") && !(p.Preflight && agree(in, "OPTIONS ")) {
		return -1, ErrMethod
	}
	from := max(p.scanned-3, 0)
	window := in[:min(len(in), MaxHead)]
	if from > len(window) {
		from = 0
	}
	if i := bytes.Index(window[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 4, nil
	}
	if len(in) >= MaxHead {
		return -1, ErrHeadSize
	}
	p.scanned = len(in)
	return -1, nil
}

// agree tells whether in and word are the same as far as both go.
func agree(in []byte, word string) bool {
	n := min(len(in), len(word))
	return string(in[:n]) == word[:n]
}

func parseHead(head []byte) (r *Request, bodyLen int, err error) {
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	r, err = parseRequestLine(line)
	if err != nil {
		return nil, 0, err
	}
	seenLength := false
	for n := 0; ; n++ {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		if len(line) == 0 {
			return r, bodyLen, nil
		}
		if n == maxHeaders {
			return nil, 0, ErrHeadSize
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(name) == 0 || !isToken(name) {
			return nil, 0, fmt.Errorf("%w: header line %.40q", ErrSyntax, line)
		}
		value = bytes.Trim(value, " \t")
		for _, b := range value {
			if b < ' ' && b != '\t' || b == 0x7f {
				return nil, 0, fmt.Errorf("%w: control byte in header %.40q", ErrSyntax, name)
			}
		}
		switch {
		case foldEqual(name, "content-length"):
			n, err := parseLength(value)
			if err != nil {
				return nil, 0, err
			}
			if seenLength && n != bodyLen {
				return nil, 0, fmt.Errorf("%w: two different lengths", ErrSyntax)
			}
			bodyLen, seenLength = n, true
		case foldEqual(name, "transfer-encoding"):
			return nil, 0, ErrEncoding
		case foldEqual(name, "connection"):
			switch {
			case hasToken(value, "close"):
				r.Close = true
			case hasToken(value, "keep-alive"):
				r.Close = false
			}
		case foldEqual(name, "content-type"):
			r.ContentType = string(value)
		case foldEqual(name, "origin"):
			r.Origin = string(value)
		case foldEqual(name, "x-requested-with"):
			r.RequestedWith = string(value)
		case foldEqual(name, "expect"):
			r.expect = foldEqual(value, "100-continue")
		}
	}
}

func parseRequestLine(line []byte) (*Request, error) {
	method, rest, ok := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok || !ok2 || len(target) == 0 {
		return nil, fmt.Errorf("%w: request line %.40q", ErrSyntax, line)
	}
	// Any version gets an answer in 1.1, as Apache Pegasus does; only 1.0 changes what keep-alive means.
	if len(version) != 8 || string(version[:5]) != "HTTP/" || !digit(version[5]) || version[6] != '.' || !digit(version[7]) {
		return nil, fmt.Errorf("%w: version %.20q", ErrSyntax, version)
	}
	for _, b := range target {
		if b <= ' ' || b >= 0x7f {
			return nil, fmt.Errorf("%w: byte 0x%02x in the target", ErrSyntax, b)
		}
	}
	if target[0] != '/' && !(bytes.HasPrefix(target, []byte("http://")) && bytes.IndexByte(target[7:], '/') > 0) {
		return nil, fmt.Errorf("%w: target %.40q", ErrSyntax, target)
	}
	return &Request{Method: string(method), Target: string(target), Close: string(version) == "HTTP/1.0"}, nil
}

func parseLength(v []byte) (int, error) {
	if len(v) == 0 || len(v) > 19 {
		return 0, fmt.Errorf("%w: content length %.30q", ErrSyntax, v)
	}
	for _, b := range v {
		if !digit(b) {
			return 0, fmt.Errorf("%w: content length %.30q", ErrSyntax, v)
		}
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n > MaxBody {
		return 0, ErrBodySize
	}
	return int(n), nil
}

func digit(b byte) bool { return b >= '0' && b <= '9' }

func isToken(s []byte) bool {
	for _, b := range s {
		if b <= ' ' || b >= 0x7f || bytes.IndexByte([]byte("()<>@,;:\\\"/[]?={}"), b) >= 0 {
			return false
		}
	}
	return true
}

// foldEqual compares with a lower-case word.
func foldEqual(s []byte, lower string) bool {
	return len(s) == len(lower) && bytes.EqualFold(s, []byte(lower))
}

// hasToken looks for a word in a comma separated list.
func hasToken(list []byte, word string) bool {
	for part := range bytes.SplitSeq(list, []byte(",")) {
		if foldEqual(bytes.Trim(part, " \t"), word) {
			return true
		}
	}
	return false
}
