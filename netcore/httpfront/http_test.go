package httpfront

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// parse feeds in byte by byte, as the slowest network would, and returns the requests.
func parse(t testing.TB, in string) ([]*Request, error) {
	t.Helper()
	var p Parser
	var out []*Request
	var buf []byte
	need := 0
	for i := range len(in) {
		buf = append(buf, in[i])
		if len(buf) < need {
			continue
		}
		req, used, n, err := p.Next(buf)
		if err != nil {
			return out, err
		}
		need = n
		if req != nil {
			out = append(out, req)
			buf = buf[used:]
		}
	}
	if len(bytes.Trim(buf, "\r\n")) > 0 {
		t.Logf("left over: %q", buf)
	}
	return out, nil
}

func TestRequests(t *testing.T) {
	reqs, err := parse(t, "GET /version?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"+
		"POST //meta//app/ HTTP/1.0\r\ncontent-LENGTH: 5\r\nContent-Type:  application/json \r\n\r\nhello\r\n"+
		"GET http://h:1/a%2Fb?name=a%26b=c&flag&n=1+2&n=3#frag HTTP/9.9\r\nConnection: Foo, Close\r\n\r\n"+
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	type view struct {
		method, path, query, body, ctype string
		close                            bool
	}
	var got []view
	for _, r := range reqs {
		path, err := r.Path()
		if err != nil {
			t.Fatal(err)
		}
		q, err := r.Query()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, view{r.Method, path, fmt.Sprint(map[string][]string(q)), string(r.Body), r.ContentType, r.Close})
	}
	want := []view{
		{"GET", "version", "map[x:[1]]", "", "", false},
		{"POST", "meta/app", "map[]", "hello", "application/json", true},
		{"GET", "a/b", "map[b:[c] flag:[] n:[1+2 3] name:[a]]", "", "", true},
		{"GET", "", "map[]", "", "", false},
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
	q, _ := reqs[2].Query()
	if d := Duplicate(q); d != "n" {
		t.Fatalf("duplicate %q, want n", d)
	}
}

func TestRefused(t *testing.T) {
	long := strings.Repeat("a", MaxHead)
	for _, c := range []struct {
		in   string
		want error
	}{
		{"PUT /version HTTP/1.1\r\n\r\n", ErrMethod},
		{"DELETE / HTTP/1.1\r\n\r\n", ErrMethod},
		{"HEAD / HTTP/1.1\r\n\r\n", ErrMethod},
		{"GETX / HTTP/1.1\r\n\r\n", ErrMethod},
		{"OPTIONS / HTTP/1.1\r\n\r\n", ErrMethod},
		{"\x00\x01\x02", ErrMethod},
		{"get / HTTP/1.1\r\n\r\n", ErrMethod},
		{"GET /\r\n\r\n", ErrSyntax},
		{"GET  / HTTP/1.1\r\n\r\n", ErrSyntax},
		{"GET / HTTP/1.1 \r\n\r\n", ErrSyntax},
		{"GET / HTPT/1.1\r\n\r\n", ErrSyntax},
		{"GET version HTTP/1.1\r\n\r\n", ErrSyntax},
		{"GET /\x7f HTTP/1.1\r\n\r\n", ErrSyntax},
		{"GET / HTTP/1.1\r\nno colon\r\n\r\n", ErrSyntax},
		{"GET / HTTP/1.1\r\nname : v\r\n\r\n", ErrSyntax},
		{"GET / HTTP/1.1\r\n folded: v\r\n\r\n", ErrSyntax},
		{"GET / HTTP/1.1\r\na: b\x00c\r\n\r\n", ErrSyntax},
		{"GET / HTTP/1.1\r\na: b\nc: d\r\n\r\n", ErrSyntax},
		{"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", ErrSyntax},
		{"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", ErrSyntax},
		{"POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n", ErrSyntax},
		{"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", ErrSyntax},
		{"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", ErrSyntax},
		{"POST / HTTP/1.1\r\nContent-Length: 9999999999999999999\r\n\r\n", ErrBodySize},
		{fmt.Sprintf("POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n", MaxBody+1), ErrBodySize},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", ErrEncoding},
		{"GET /" + long + " HTTP/1.1\r\n\r\n", ErrHeadSize},
		{"GET / HTTP/1.1\r\n" + strings.Repeat("a: b\r\n", maxHeaders+1) + "\r\n", ErrHeadSize},
	} {
		if reqs, err := parse(t, c.in); !errors.Is(err, c.want) {
			t.Errorf("%.50q: %d requests, error %v, want %v", c.in, len(reqs), err, c.want)
		}
		var p Parser
		if _, _, _, err := p.Next([]byte(c.in)); !errors.Is(err, c.want) {
			t.Errorf("%.50q in one piece: error %v, want %v", c.in, err, c.want)
		}
	}
	if r, ok := Refusal(fmt.Errorf("x: %w", ErrEncoding)); !ok || r.Status != 501 || !r.Close {
		t.Errorf("chunked is refused with %+v", r)
	}
	if _, ok := Refusal(ErrSyntax); ok {
		t.Error("garbage gets an answer")
	}
}

func TestNeedAndContinue(t *testing.T) {
	var p Parser
	head := "POST /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"
	in := []byte(head + "12345")
	for range 2 {
		req, used, need, err := p.Next(in)
		if req != nil || used != 0 || err != nil || need != len(head)+10 {
			t.Fatalf("req %v used %d need %d err %v", req, used, need, err)
		}
	}
	if !p.WantsContinue() || p.WantsContinue() {
		t.Fatal("100-continue must be asked for exactly once")
	}
	if _, _, _, err := p.Next(in); err != nil || p.WantsContinue() {
		t.Fatal("100-continue is asked for again")
	}
	req, used, _, err := p.Next(append(in, "67890GET"...))
	if err != nil || req == nil || string(req.Body) != "1234567890" || used != len(head)+10 {
		t.Fatalf("req %+v used %d err %v", req, used, err)
	}
}

func TestBadEscapes(t *testing.T) {
	for _, target := range []string{"/%", "/%4", "/%zz", "/ok?%", "/ok?a=%1"} {
		r := &Request{Target: target}
		_, err1 := r.Path()
		_, err2 := r.Query()
		if err1 == nil && err2 == nil {
			t.Errorf("%s is accepted", target)
		}
	}
}

// OPTIONS gets in only where it is wanted, again and again on one connection.
func TestPreflight(t *testing.T) {
	in := []byte("OPTIONS /api/v1/job/control HTTP/1.1\r\nOrigin: http://a:1\r\nX-Requested-With: x\r\n\r\n")
	p := Parser{Preflight: true}
	for range 2 {
		req, used, _, err := p.Next(in)
		if err != nil || req == nil || used != len(in) || req.Method != "OPTIONS" || req.Origin != "http://a:1" || req.RequestedWith != "x" {
			t.Fatalf("%+v, %d bytes, %v", req, used, err)
		}
	}
	p = Parser{}
	if _, _, _, err := p.Next(in); !errors.Is(err, ErrMethod) {
		t.Errorf("not wanted: %v", err)
	}
	framed := Response{NoFrame: true, Body: []byte("x")}
	if got := string(framed.Append(nil)); !strings.Contains(got, "\r\nX-Frame-Options: DENY\r\nContent-Security-Policy: frame-ancestors 'none'\r\n") {
		t.Errorf("%q", got)
	}
	r := Response{Status: 204, AllowOrigin: "http://a:1", AllowHeaders: "content-type, x-requested-with"}
	if got := string(r.Append(nil)); got != "HTTP/1.1 204 No Content\r\nVary: Origin\r\nAccess-Control-Allow-Origin: http://a:1\r\n"+
		"Access-Control-Allow-Methods: POST\r\nAccess-Control-Max-Age: 600\r\nAccess-Control-Allow-Headers: content-type, x-requested-with\r\n\r\n" {
		t.Errorf("%q", got)
	}
}

// The standard library reads what Append writes.
func TestResponse(t *testing.T) {
	for _, r := range []Response{
		{Body: []byte("{}\n")},
		{Status: 404, Body: []byte("service not found for \"x\"")},
		{Status: 307, Location: "http://other:34601/x\r\nEvil: 1"},
		{Status: 500, ContentType: "application/json", Close: true},
		{Status: 204, AllowOrigin: "http://a:1", NoStore: true},
	} {
		b := r.Append([]byte("keep"))
		got, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b[4:])), nil)
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		body, err := io.ReadAll(got.Body)
		if err != nil || !bytes.Equal(body, r.Body) || got.StatusCode != max(r.Status, 200) || got.Close != r.Close {
			t.Fatalf("%q read back as %+v", b, got)
		}
		if r.Status == 204 {
			if got.Header.Get("Content-Length") != "" || got.Header.Get("Content-Type") != "" || got.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("%q says something of a body", b)
			}
			continue
		}
		if got.Header.Get("Evil") != "" || got.ContentLength != int64(len(r.Body)) {
			t.Fatalf("%q: header %v", b, got.Header)
		}
		if r.ContentType == "" && got.Header.Get("Content-Type") != "text/plain" {
			t.Fatalf("content type %q", got.Header.Get("Content-Type"))
		}
	}
}

// However the bytes are cut, the outcome is the same; nothing panics; limits hold.
func FuzzParser(f *testing.F) {
	f.Add([]byte("GET /version?x=1 HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab"), uint8(3))
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello\r\n\r\nGET / HTTP/1.1\r\n\r\n"), uint8(1))
	f.Add([]byte("PUT / HTTP/1.1\r\n\r\n"), uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		whole, errWhole := drive(t, in, len(in)+1)
		cut, errCut := drive(t, in, int(step)+1)
		if !reflect.DeepEqual(whole, cut) || (errWhole == nil) != (errCut == nil) {
			t.Fatalf("in one piece: %d requests, %v; in pieces of %d: %d requests, %v",
				len(whole), errWhole, int(step)+1, len(cut), errCut)
		}
		for _, r := range whole {
			if len(r.Target) > MaxHead || len(r.Body) > MaxBody {
				t.Fatalf("target %d, body %d bytes", len(r.Target), len(r.Body))
			}
			_, _ = r.Path()
			_, _ = r.Query()
		}
	})
}

func drive(t *testing.T, in []byte, step int) ([]*Request, error) {
	var p Parser
	var out []*Request
	start, need := 0, 0
	for end := 0; end < len(in); {
		end = min(end+step, len(in))
		for end-start >= need && start < end {
			req, used, n, err := p.Next(in[start:end])
			if err != nil {
				return out, err
			}
			if req == nil {
				if used != 0 || n != 0 && n <= end-start {
					t.Fatalf("no request, used %d, need %d of %d", used, n, end-start)
				}
				need = n
				break
			}
			if used <= 0 || used > end-start {
				t.Fatalf("used %d of %d", used, end-start)
			}
			out = append(out, req)
			start, need = start+used, 0
		}
	}
	return out, nil
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	in := []byte("GET /metrics?with_metric_fields=name,value&types=replica HTTP/1.1\r\nHost: 127.0.0.1:34801\r\nUser-Agent: curl\r\nAccept: */*\r\n\r\n")
	var p Parser
	for b.Loop() {
		if req, _, _, err := p.Next(in); req == nil || err != nil {
			b.Fatal(err)
		}
	}
}
