package perf

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"time"
)

// RedisServer is a Redis of one's own, without persistence, to compare with: a server in C with one event loop that answers from
// memory, and the client in C that comes with it.
type RedisServer struct {
	port string
	cmd  *exec.Cmd
}

// redisStart bounds the start of a server.
const redisStart = 10 * time.Second

// StartRedis starts a server with its data in dir. It is an exec.ErrNotFound where Redis is not installed.
func StartRedis(ctx context.Context, dir string) (*RedisServer, error) {
	for _, program := range []string{"redis-server", "redis-benchmark"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, err
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err = errors.Join(err, ln.Close()); err != nil {
		return nil, err
	}
	s := &RedisServer{port: port}
	s.cmd = exec.CommandContext(ctx, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, redisStart)
	defer cancel()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "tcp", "127.0.0.1:"+port)
		if err == nil {
			return s, conn.Close()
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("redis-server does not serve: %w", err), s.Close())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Close ends the server.
func (s *RedisServer) Close() error {
	err := s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed, which is no news
	return err
}

// Fill writes records of 100 bytes.
func (s *RedisServer) Fill(ctx context.Context, records int) error {
	_, err := s.run(ctx, "-t", "set", "-n", strconv.Itoa(2*records), "-r", strconv.Itoa(records), "-P", "64")
	return err
}

// Get measures ops GETs of redis-benchmark, one in flight (`-c 1`), of random records out of so many.
func (s *RedisServer) Get(ctx context.Context, records, ops int) (BenchmarkLine, error) {
	return s.run(ctx, "-t", "get", "-c", "1", "-n", strconv.Itoa(ops), "-r", strconv.Itoa(records))
}

func (s *RedisServer) run(ctx context.Context, args ...string) (BenchmarkLine, error) {
	cmd := exec.CommandContext(ctx, "redis-benchmark", append([]string{"-p", s.port, "-d", "100", "--csv"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return BenchmarkLine{}, err
	}
	if err := cmd.Start(); err != nil {
		return BenchmarkLine{}, err
	}
	line, err := readBenchmark(out)
	_, drained := io.Copy(io.Discard, out)
	if err = errors.Join(err, drained, cmd.Wait()); err != nil {
		return BenchmarkLine{}, fmt.Errorf("redis-benchmark: %w", err)
	}
	return line, nil
}

// BenchmarkLine is what redis-benchmark tells of one command.
type BenchmarkLine struct {
	PerSec   float64
	P50, P99 time.Duration
}

// readBenchmark reads the table of one command that `redis-benchmark --csv` prints (version 7).
func readBenchmark(r io.Reader) (BenchmarkLine, error) {
	rows, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return BenchmarkLine{}, err
	}
	if len(rows) != 2 {
		return BenchmarkLine{}, fmt.Errorf("%d lines, want a head and a line of figures", len(rows))
	}
	figure := map[string]float64{}
	for i, name := range rows[0] {
		figure[name], _ = strconv.ParseFloat(rows[1][i], 64) // the name of the test is no number
	}
	ms := func(name string) time.Duration { return time.Duration(figure[name] * float64(time.Millisecond)) }
	line := BenchmarkLine{PerSec: figure["rps"], P50: ms("p50_latency_ms"), P99: ms("p99_latency_ms")}
	if line.PerSec <= 0 || line.P50 <= 0 {
		return BenchmarkLine{}, fmt.Errorf("no figures in %q", rows)
	}
	return line, nil
}
