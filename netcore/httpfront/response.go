package httpfront

import (
	"errors"
	"strconv"
)

// Response is what a handler makes. The zero Status is 200, the empty ContentType text/plain.
type Response struct {
	Status      int
	ContentType string
	Location    string // sent when not empty
	AllowOrigin string // whose scripts may read the answer, when not empty; see Request.Origin
	// AllowHeaders answers a preflight: the headers that scripts of AllowOrigin may send with a POST, separated by commas. The browser
	// need not ask again for ten minutes.
	AllowHeaders string
	NoFrame      bool // no page of anybody shows it as a part of itself, so that nobody is made to press its buttons unawares
	NoStore      bool // it is worth nothing in a moment: nobody keeps a copy
	Body         []byte
	Close        bool // announce that the connection is closed afterwards
}

// Text is a short answer in plain text.
func Text(status int, text string) Response { return Response{Status: status, Body: []byte(text)} }

// Append appends the response to dst. The header has the shape of Apache Pegasus: Content-Type, Content-Length,
// Location if any; the others only when they say something.
func (r *Response) Append(dst []byte) []byte {
	status := r.Status
	if status == 0 {
		status = 200
	}
	contentType := r.ContentType
	if contentType == "" {
		contentType = "text/plain"
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, reason(status)...)
	body := r.Body
	if status == 204 { // which is that there is none
		body = nil
	} else {
		dst = append(dst, "\r\nContent-Type: "...)
		dst = appendValue(dst, contentType)
		dst = append(dst, "\r\nContent-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(body)), 10)
	}
	if r.Location != "" {
		dst = append(dst, "\r\nLocation: "...)
		dst = appendValue(dst, r.Location)
	}
	if r.AllowOrigin != "" {
		dst = append(dst, "\r\nVary: Origin\r\nAccess-Control-Allow-Origin: "...)
		dst = appendValue(dst, r.AllowOrigin)
	}
	if r.AllowHeaders != "" {
		dst = append(dst, "\r\nAccess-Control-Allow-Methods: POST\r\nAccess-Control-Max-Age: 600\r\nAccess-Control-Allow-Headers: "...)
		dst = appendValue(dst, r.AllowHeaders)
	}
	if r.NoFrame {
		dst = append(dst, "\r\nX-Frame-Options: DENY\r\nContent-Security-Policy: frame-ancestors 'none'"...)
	}
	if r.NoStore {
		dst = append(dst, "\r\nCache-Control: no-store"...)
	}
	if r.Close {
		dst = append(dst, "\r\nConnection: close"...)
	}
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}

// AppendContinue appends the interim answer that Parser.WantsContinue asks for.
func AppendContinue(dst []byte) []byte { return append(dst, "HTTP/1.1 100 Continue\r\n\r\n"...) }

// Refusal is the answer that err of Parser.Next deserves before the connection is closed; ok is false when it
// deserves none, which is the case for everything that Apache Pegasus closes silently.
func Refusal(err error) (r Response, ok bool) {
	if errors.Is(err, ErrEncoding) {
		return Response{Status: 501, Body: []byte("transfer encodings are not supported\n"), Close: true}, true
	}
	return Response{}, false
}

// appendValue keeps a header value on its line whatever a handler puts into it.
func appendValue(dst []byte, v string) []byte {
	for i := range len(v) {
		if c := v[i]; c >= ' ' && c != 0x7f {
			dst = append(dst, c)
		}
	}
	return dst
}

func reason(status int) string {
	switch status {
	case 200:
		return "OK"
	case 204:
		return "No Content"
	case 307:
		return "Temporary Redirect"
	case 400:
		return "Bad Request"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 500:
		return "Internal Server Error"
	case 501:
		return "Not Implemented"
	case 503:
		return "Service Unavailable"
	}
	return "Status"
}
