package perf

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
)

// Redis drives a Redis server (RESP2, https://redis.io/docs/latest/develop/reference/protocol-spec/). A record is the string
// under hash key + sort key. Requests are pipelined: those that gather while a write is under way leave in the next one.
type Redis struct{ Address string }

// Name implements Driver.
func (d *Redis) Name() string { return "redis" }

// Supports implements Driver: strings have no order, so there are no scans of a hash key.
func (d *Redis) Supports(k Kind) bool { return k != Scan }

// Servers implements Driver.
func (d *Redis) Servers(context.Context) []Server {
	return []Server{{Address: d.Address, Version: "redis"}}
}

type redisConn struct {
	nc net.Conn

	mu     sync.Mutex
	out    []byte
	err    error
	flying []*redisSlot // requests in flight, in order
	wg     sync.WaitGroup
	wake   chan struct{} // cap 1: there is output
}

// Dial implements Driver.
func (d *Redis) Dial(ctx context.Context, _ int) (Conn, error) {
	var dialer net.Dialer
	nc, err := dialer.DialContext(ctx, "tcp", d.Address)
	if err != nil {
		return nil, err
	}
	c := &redisConn{nc: nc, wake: make(chan struct{}, 1)}
	c.wg.Go(c.write)
	c.wg.Go(c.read)
	return c, nil
}

// errRedisClosed ends what is in flight when the connection ends.
var errRedisClosed = errors.New("redis: connection closed")

func (c *redisConn) Close() {
	c.fail(errRedisClosed)
	c.wg.Wait()
}

func (c *redisConn) fail(err error) {
	c.mu.Lock()
	lost := c.flying
	if c.err == nil {
		c.err = err
		close(c.wake)
	}
	c.flying = nil
	c.mu.Unlock()
	_ = c.nc.Close()
	for _, s := range lost {
		s.op.Done(false, err)
	}
}

func (c *redisConn) Slot() Slot { return &redisSlot{conn: c} }

type redisSlot struct {
	conn *redisConn
	op   *Op
	key  []byte
}

func (s *redisSlot) Blocks() bool { return false }

func (s *redisSlot) Start(op *Op) {
	s.op = op
	c := s.conn
	c.mu.Lock()
	if c.err != nil {
		err := c.err
		c.mu.Unlock()
		op.Done(false, err)
		return
	}
	idle := len(c.out) == 0
	c.out = s.appendRequest(c.out)
	c.flying = append(c.flying, s)
	if idle {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	c.mu.Unlock()
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
	s.key = append(s.key[:0], s.op.HashKey...)
	if s.op.N > 1 {
		s.key = s.op.sortKey(s.key, i)
	} else {
		s.key = append(s.key, s.op.SortKey...)
	}
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

// write is the writer goroutine.
func (c *redisConn) write() {
	var buf []byte
	for range c.wake {
		c.mu.Lock()
		buf, c.out = c.out, buf[:0]
		c.mu.Unlock()
		if _, err := c.nc.Write(buf); err != nil {
			c.fail(err)
			return
		}
	}
}

// read is the reader goroutine.
func (c *redisConn) read() {
	r := bufio.NewReaderSize(c.nc, 64<<10)
	for {
		miss, err := readRESP(r, 0)
		var refused *redisError
		if err != nil && !errors.As(err, &refused) {
			c.fail(err)
			return
		}
		c.mu.Lock()
		if len(c.flying) == 0 {
			c.mu.Unlock()
			c.fail(errors.New("redis: a reply to nothing"))
			return
		}
		s := c.flying[0]
		c.flying = c.flying[1:]
		c.mu.Unlock()
		s.op.Done(miss, err)
	}
}

// redisError is an error reply; the connection goes on.
type redisError struct{ text string }

func (e *redisError) Error() string { return "redis: " + e.text }

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
		return false, &redisError{text: string(text)}
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
