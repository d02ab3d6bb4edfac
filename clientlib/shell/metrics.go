package shell

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Figures of servers come from /metrics on their port in the JSON of Apache Pegasus (spec tools 4), which both kinds of
// servers answer when the request has parameters. Rates are the difference of two readings.

// snapshot is one reading of one server.
type snapshot struct {
	TimestampNS int64    `json:"timestamp_ns"`
	Role        string   `json:"role"`
	Entities    []entity `json:"entities"`
}

type entity struct {
	Type       string            `json:"type"`
	ID         string            `json:"id"`
	Attributes map[string]string `json:"attributes"`
	Metrics    []struct {
		Name  string   `json:"name"`
		Value *float64 `json:"value"`
		P99   *float64 `json:"p99"`
	} `json:"metrics"`
}

// fetchMetrics reads the named metrics of a server; which entity has them is not asked.
func fetchMetrics(ctx context.Context, address string, names []string) (*snapshot, error) {
	body, err := fetchPage(ctx, address, "/metrics", url.Values{"metrics": {strings.Join(names, ",")}, "with_metric_fields": {"name,value,p99"}})
	if err != nil {
		return nil, err
	}
	var s snapshot
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, fmt.Errorf("%s/metrics: %w", address, err)
	}
	return &s, nil
}

// column is a figure made of metrics: their sum, times scale; a rate is its change per second.
type column struct {
	name    string
	metrics []string
	rate    bool
	scale   float64 // 0 means 1
}

func rateOf(name string, metrics ...string) column {
	return column{name: name, metrics: metrics, rate: true}
}

const mebi = 1.0 / (1 << 20)

// usageColumns are what `nodes -u` shows, trafficColumns what -q does.
var (
	usageColumns = []column{
		{name: "memused_res_mb", metrics: []string{"resident_mem_usage_mb"}},
		{name: "block_cache_mb", metrics: []string{"rdb_block_cache_mem_usage_bytes"}, scale: mebi},
		{name: "mem_tbl_mb", metrics: []string{"rdb_memtable_mem_usage_bytes"}, scale: mebi},
		{name: "mem_idx_mb", metrics: []string{"rdb_index_and_filter_blocks_mem_usage_bytes"}, scale: mebi},
		{name: "disk_total_mb", metrics: []string{"disk_capacity_total_mb"}},
		{name: "disk_avail_mb", metrics: []string{"disk_capacity_avail_mb"}},
	}
	trafficColumns = []column{
		rateOf("get_qps", "get_requests"), rateOf("mget_qps", "multi_get_requests"), rateOf("bget_qps", "batch_get_requests"),
		rateOf("scan_qps", "scan_requests"), rateOf("put_qps", "put_requests"), rateOf("mput_qps", "multi_put_requests"),
		rateOf("del_qps", "remove_requests"), rateOf("mdel_qps", "multi_remove_requests"), rateOf("incr_qps", "incr_requests"),
		rateOf("cas_qps", "check_and_set_requests"), rateOf("cam_qps", "check_and_mutate_requests"),
		rateOf("read_cu", "read_capacity_units"), rateOf("write_cu", "write_capacity_units"),
	}
)

func metricsOf(columns []column) (names []string, rates bool) {
	for _, k := range columns {
		for _, m := range k.metrics {
			if !slices.Contains(names, m) {
				names = append(names, m)
			}
		}
		rates = rates || k.rate
	}
	return names, rates
}

// readings are two snapshots of each server, the same one twice when no rate is asked for.
type readings map[string][2]*snapshot

// readTwice reads all servers, waits and reads again. A server that fails fails all: half of a sum is wrong.
func (c *call) readTwice(addresses []string, names []string, rates bool, intervalMS int64) (readings, error) {
	out := readings{}
	if len(names) == 0 || len(addresses) == 0 {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, 2*c.timeout+time.Duration(intervalMS)*time.Millisecond)
	defer cancel()
	read := func(i int) error {
		type result struct {
			s   *snapshot
			err error
		}
		for j, r := range each(addresses, func(address string) result {
			s, err := fetchMetrics(ctx, address, names)
			return result{s, err}
		}) {
			if r.err != nil {
				return r.err
			}
			pair := out[addresses[j]]
			pair[i] = r.s
			out[addresses[j]] = pair
		}
		return nil
	}
	if err := read(1); err != nil || !rates {
		for a, pair := range out {
			out[a] = [2]*snapshot{pair[1], pair[1]}
		}
		return out, err
	}
	for a, pair := range out {
		out[a] = [2]*snapshot{pair[1], nil}
	}
	if err := c.sleep(time.Duration(intervalMS) * time.Millisecond); err != nil {
		return nil, err
	}
	return out, read(1)
}

// intervalFlag adds -i: how long a rate is measured.
func intervalFlag(cmd *cobra.Command, ms *int64) {
	cmd.Flags().Int64VarP(ms, "sample_interval_ms", "i", 1000, "how long rates are measured, in milliseconds")
}

// sums adds up the metrics of the entities that key puts together; an entity without a key is left out. key is also told
// the server that the entity belongs to.
type sums map[string]map[string][2]float64

func (r readings) sum(key func(address string, e *entity) string) sums {
	out := sums{}
	for address, pair := range r {
		for i, s := range pair {
			if s == nil {
				continue
			}
			for j := range s.Entities {
				e := &s.Entities[j]
				k := key(address, e)
				if k == "" {
					continue
				}
				if out[k] == nil {
					out[k] = map[string][2]float64{}
				}
				for _, m := range e.Metrics {
					if m.Value != nil {
						v := out[k][m.Name]
						v[i] += *m.Value
						out[k][m.Name] = v
					}
				}
			}
		}
	}
	return out
}

// seconds is the time between the two readings, the mean of all servers.
func (r readings) seconds() float64 {
	total := 0.0
	for _, pair := range r {
		if pair[0] != nil && pair[1] != nil {
			total += float64(pair[1].TimestampNS-pair[0].TimestampNS) / 1e9
		}
	}
	if len(r) == 0 {
		return 0
	}
	return total / float64(len(r))
}

// figure is the value of a column, nil when none of its metrics is there.
func (s sums) figure(key string, k column, seconds float64) any {
	value, found := 0.0, false
	for _, m := range k.metrics {
		v, ok := s[key][m]
		if !ok {
			continue
		}
		found = true
		if !k.rate {
			value += v[1]
		} else if seconds > 0 && v[1] > v[0] { // a server that restarted counts from 0 again
			value += (v[1] - v[0]) / seconds
		}
	}
	if !found {
		return nil
	}
	if k.scale != 0 {
		value *= k.scale
	}
	return value
}

// figures are columns by server.
type figures struct {
	sums    sums
	seconds float64
}

func (c *call) figures(addresses []string, columns []column, intervalMS int64) (figures, error) {
	names, rates := metricsOf(columns)
	r, err := c.readTwice(addresses, names, rates, intervalMS)
	if err != nil {
		return figures{}, err
	}
	return figures{sums: r.sum(func(address string, _ *entity) string { return address }), seconds: r.seconds()}, nil
}

func (f figures) of(address string, k column) any { return f.sums.figure(address, k, f.seconds) }
