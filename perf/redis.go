package perf

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Redis drives a Redis server (RESP2, https://redis.io/docs/latest/develop/reference/protocol-spec/). A record is the string
// under hash key + sort key. Requests are pipelined: those that gather while a write is under way leave in the next one.
type Redis struct{ Address string }

// Name implements Driver.
func (d *Redis) Name() string { return "redis" }

// Supports implements Driver: strings have no order, so there are no scans.
func (d *Redis) Supports(k Kind) bool { return k != Scan && k != TableScan }

// Servers implements Driver.
func (d *Redis) Servers(ctx context.Context) []Server {
	return []Server{{Address: d.Address, Version: redisVersion(ctx, d.Address)}}
}

// redisVersion asks a server for its version (INFO, section server).
func redisVersion(ctx context.Context, address string) string {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return "unknown: " + err.Error()
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "unknown: " + err.Error()
	}
	if _, err := conn.Write(appendBulks(nil, []byte("INFO"), []byte("server"))); err != nil {
		return "unknown: " + err.Error()
	}
	lines := bufio.NewScanner(conn)
	for range maxInfoLines {
		if !lines.Scan() {
			break
		}
		switch v, ok := strings.CutPrefix(lines.Text(), "redis_version:"); {
		case ok:
			return "Redis " + v
		case strings.HasPrefix(lines.Text(), "-"):
			return "unknown: " + lines.Text()[1:]
		}
	}
	return "unknown"
}

// maxInfoLines is how far into a server's answer its version may stand.
const maxInfoLines = 20

// Dial implements Driver.
func (d *Redis) Dial(ctx context.Context, _ int) (Conn, error) {
	conn, err := dialPipeline(ctx, d.Address, func(r *bufio.Reader) (bool, error) { return readRESP(r, 0) })
	if err != nil {
		return nil, err
	}
	return redisConn{conn}, nil
}

type redisConn struct{ *pipeline }

func (c redisConn) Slot() Slot {
	s := &redisSlot{}
	s.pipelined = pipelined{conn: c.pipeline, request: s.appendRequest}
	return s
}

type redisSlot struct {
	pipelined
	key []byte
}

func (s *redisSlot) appendRequest(out []byte) []byte {
	op := s.op
	switch op.Kind {
	case Get:
		return appendBulks(out, []byte("GET"), s.keyOf(0))
	case Incr:
		return appendBulks(out, []byte("INCR"), s.keyOf(0))
	case CheckAndSet:
		return appendBulks(out, []byte("SET"), s.keyOf(0), op.Value(0), []byte("XX"))
	case MultiGet:
		out = appendBulk(appendCount(out, 1+op.N), []byte("MGET"))
		for i := range op.N {
			out = appendBulk(out, s.keyOf(i))
		}
		return out
	case MultiPut:
		out = appendBulk(appendCount(out, 1+2*op.N), []byte("MSET"))
		for i := range op.N {
			out = appendBulk(appendBulk(out, s.keyOf(i)), op.Value(i))
		}
		return out
	}
	return appendBulks(out, []byte("SET"), s.keyOf(0), op.Value(0))
}

// keyOf is the key of the i-th record, until the next call.
func (s *redisSlot) keyOf(i int) []byte {
	s.key = s.op.flatKey(s.key[:0], i)
	return s.key
}

func appendCount(out []byte, n int) []byte {
	return append(strconv.AppendInt(append(out, '*'), int64(n), 10), "\r\n"...)
}

func appendBulk(out, b []byte) []byte {
	out = append(strconv.AppendInt(append(out, '$'), int64(len(b)), 10), "\r\n"...)
	return append(append(out, b...), "\r\n"...)
}

func appendBulks(out []byte, parts ...[]byte) []byte {
	out = appendCount(out, len(parts))
	for _, p := range parts {
		out = appendBulk(out, p)
	}
	return out
}

// maxRESP bounds a string or array of a reply, maxNesting arrays in arrays.
const (
	maxRESP    = 64 << 20
	maxNesting = 4
)

// readRESP reads one reply. miss: it is null, or an array of nothing but null.
func readRESP(r *bufio.Reader, depth int) (miss bool, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return false, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return false, fmt.Errorf("redis: bad reply line %q", line)
	}
	kind, text := line[0], line[1:len(line)-2]
	switch kind {
	case '+', ':':
		return false, nil
	case '-':
		return false, &refusal{text: "redis: " + string(text)}
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < -1 || n > maxRESP || depth >= maxNesting {
		return false, fmt.Errorf("redis: bad reply line %q", line)
	}
	switch {
	case n == -1:
		return true, nil
	case kind == '$':
		_, err = r.Discard(n + 2)
		return false, err
	case kind == '*':
		miss = true
		for range n {
			m, err := readRESP(r, depth+1)
			if err != nil {
				return false, err
			}
			miss = miss && m
		}
		return miss, nil
	}
	return false, fmt.Errorf("redis: bad reply line %q", line)
}
