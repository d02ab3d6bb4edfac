package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"pegasus/perf"
)

const (
	redisRounds  = 5
	redisRecords = 100_000
	redisOps     = 30_000 // of a round
)

// compareRedis measures gets by one caller and redis-benchmark's (-c 1) in turn, and prints medians and the ratio of their p50.
func compareRedis(ctx context.Context, c perf.Config, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "pegasus-redis-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	redis, err := perf.StartRedis(ctx, dir)
	if errors.Is(err, exec.ErrNotFound) {
		_, err = fmt.Fprintln(stdout, "not compared with Redis: there is no redis-server or no redis-benchmark (Debian's packages redis-server, redis-tools)")
		return err
	}
	if err != nil {
		return err
	}
	defer func() { _ = redis.Close() }()
	if err := redis.Fill(ctx, redisRecords); err != nil {
		return err
	}
	c.Work.Mix, c.Depth = perf.Mix{perf.Get: 1}, 1
	var ours, theirs []time.Duration
	var ratios []float64
	for range redisRounds {
		r, err := perf.Run(ctx, c)
		if err != nil {
			return err
		}
		line, err := redis.Get(ctx, redisRecords, redisOps)
		if err != nil {
			return err
		}
		ours, theirs = append(ours, r.All.P50), append(theirs, line.P50)
		ratios = append(ratios, float64(r.All.P50)/float64(line.P50))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	_, err = fmt.Fprintf(stdout, "get by 1 caller: p50 %v; redis-benchmark -c 1 GET in the same run: p50 %v; the median of the ratios of %d rounds is %.2f\n",
		ours[redisRounds/2].Round(time.Microsecond), theirs[redisRounds/2], redisRounds, perf.MedianOf(ratios))
	return err
}
