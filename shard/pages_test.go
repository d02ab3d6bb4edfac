package shard

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pegasus/netcore/proto"
)

func (c *cluster) page(path string) (status int, body string) {
	c.t.Helper()
	client := http.Client{Timeout: patience}
	resp, err := client.Get("http://" + c.opts.Listen + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// sample returns the value of a series in Prometheus' text format; ok is false when it is not there.
func sample(text, series string) (v float64, ok bool) {
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	v, err := strconv.ParseFloat(m[1], 64)
	return v, err == nil
}

func TestPrometheusMetrics(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 4, nil)
	cl := c.dial()
	fill(cl, 1, 4, 10, "value")
	for i := range 7 {
		cl.get(1, 4, fmt.Sprintf("k%d", i), "s")
	}
	table := get(c.meta, func() string { return c.meta.apps[1].AppName })
	series := func(name, op string) string { return fmt.Sprintf(`%s{op=%q,table=%q}`, name, op, table) }
	var text string
	eventually(t, "what was served shows", func() bool {
		_, text = c.page("/metrics")
		puts, _ := sample(text, series("pegasus_table_request_duration_seconds_count", "put"))
		gets, _ := sample(text, series("pegasus_table_request_duration_seconds_count", "get"))
		return puts == 10 && gets == 7
	})
	for _, want := range []struct {
		series string
		min    float64
	}{
		{series("pegasus_table_request_duration_seconds_sum", "put"), 1e-6},
		{series("pegasus_table_request_bytes_total", "get"), 7 * 5},
		{series("pegasus_table_capacity_units_total", "put"), 10},
		{fmt.Sprintf(`pegasus_table_replicas{table=%q}`, table), 4},
		{`pegasus_replicas{role="primary"}`, 4},
		{`pegasus_loop_busy_seconds_total{shard="0"}`, 1e-6},
		{`pegasus_log_write_duration_seconds_count{shard="0"}`, 1},
		{`pegasus_log_write_batch_records_bucket{shard="0",le="+Inf"}`, 1},
		{`pegasus_disk_capacity_bytes{disk="disk1"}`, 1},
		{`go_goroutines`, 1},
		{`process_resident_memory_bytes`, 1},
	} {
		if v, ok := sample(text, want.series); !ok || v < want.min {
			t.Errorf("%s is %v (there: %v), want at least %v", want.series, v, ok, want.min)
		}
	}
	eventually(t, "the handles are flushed", func() bool {
		_, text := c.page("/metrics")
		cl.get(1, 4, "k0", "s")
		for _, series := range []string{"hits_total", "misses_total", "bytes"} {
			if v, _ := sample(text, `pegasus_row_cache_`+series+`{shard="0"}`); v == 0 {
				return false
			}
		}
		records, _ := sample(text, `pegasus_log_records_total{shard="0"}`)
		sessions, ok := sample(text, `pegasus_sessions{shard="0"}`)
		return records > 0 && ok && sessions >= 0
	})
	if strings.Contains(text, `pegasus_partition_`) {
		t.Error("metrics of replicas, which nobody asked for")
	}
	_, text = c.page("/metrics/partitions")
	if n := strings.Count(text, "pegasus_partition_committed_decree{"); n != 4 {
		t.Errorf("%d replicas among the metrics of replicas", n)
	}
}

func TestPercentilesAreOfTheLastPeriod(t *testing.T) {
	c := newCluster(t, 1)
	c.table(1, 1, nil)
	cl := c.dial()
	fill(cl, 1, 1, 20, "v")
	g := proto.GPID{App: 1}
	eventually(t, "the writes are counted", func() bool {
		n := uint64(0)
		c.node.collector.look(func(_ *census, r *replicaCensus) {
			if m := r.kinds[kindPut]; m != nil {
				n = m.latency.Count()
			}
		})
		return n == 20
	})
	col := c.node.collector
	period := func() (p50, p99 int64) {
		col.mu.Lock()
		defer col.mu.Unlock()
		col.endPeriod(col.newest[0])
		load := (*col.recent.Load())[g]
		if p := col.periods[g].percentiles(kindPut); p[0] != load.writeP50 || p[3] != load.writeP99 || load.readP99 != 0 {
			t.Errorf("percentiles %v, told are %+v", p, load)
		}
		return load.writeP50, load.writeP99
	}
	if p50, p99 := period(); p50 <= 0 || p99 < p50 {
		t.Errorf("p50 %d, p99 %d in the period of the writes", p50, p99)
	}
	if p50, p99 := period(); p50 != 0 || p99 != 0 {
		t.Errorf("p50 %d, p99 %d in a period without writes", p50, p99)
	}
}

func TestApacheMetrics(t *testing.T) {
	c := newCluster(t, 1)
	c.table(1, 2, nil)
	cl := c.dial()
	fill(cl, 1, 2, 10, "value")
	var out struct {
		Role     string
		Port     int
		Entities []struct {
			Type, ID   string
			Attributes map[string]string
			Metrics    []struct {
				Name  string
				Value int64
			}
		}
	}
	ask := func(query string) {
		t.Helper()
		status, body := c.page("/metrics?" + query)
		if err := json.Unmarshal([]byte(body), &out); status != 200 || err != nil {
			t.Fatalf("%s: %d, %v, %s", query, status, err, body)
		}
	}
	eventually(t, "what was written shows", func() bool {
		ask("types=replica&metrics=put_requests&attributes=table_id,1")
		sum := int64(0)
		for _, e := range out.Entities {
			if e.Type != "replica" || e.Attributes["table_id"] != "1" || len(e.Metrics) != 1 || e.ID != "replica@1."+e.Attributes["partition_id"] {
				t.Fatalf("entity %+v", e)
			}
			sum += e.Metrics[0].Value
		}
		return sum == 10 && len(out.Entities) == 2
	})
	ask("types=server,disk&metrics=total_replicas,disk_capacity_total_mb")
	if len(out.Entities) != 2 || out.Entities[1].Metrics[0].Value != 2 || out.Entities[0].Attributes["tag"] != "disk1" || out.Role != "replica" ||
		!strings.HasSuffix(c.opts.Listen, ":"+strconv.Itoa(out.Port)) {
		t.Errorf("%+v", out)
	}
}

func TestPages(t *testing.T) {
	c := newCluster(t, 2, func(o *Options) { o.SlowAfter, o.ConfigText = 1, "[requests]\nslow_threshold = \"1ns\"\n" })
	c.table(1, 2, nil)
	fill(c.dial(), 1, 2, 3, "v")
	for _, tc := range []struct {
		path   string
		status int
		want   string
	}{
		{"/", 200, `"/metrics/partitions"`},
		{"/version/", 200, `"GitCommit"`},
		{"/recentStartTime", 200, `{"RecentStartTime":"20`},
		{"/slow?count=2", 200, `"stages_us":{`},
		{"/slow?count=x", 400, "invalid count=x"},
		{"/hotkey?app_id=1&partition=0&type=read", 200, `{"gpid":"1.0","type":"read","state":"stopped","seconds":0,"longest":150,"hash_key":""}`},
		{"/hotkey?app_id=1&partition=7&type=read", 404, "no replica of 1.7 here"},
		{"/hotkey?app_id=1&type=read", 400, "partition should not be empty"},
		{"/hotkey?app_id=1&partition=0&type=both", 400, "type should be read or write"},
		{"/hotkey?app_id=1&partition=0&type=read&action=start", 400, "an action takes a POST"},
		{"/replica/data_version", 400, "app_id should not be empty"},
		{"/replica/data_version?app_id=x", 400, "invalid app_id=x"},
		{"/replica/data_version?app_id=9", 404, "app_id=9 not found"},
		{"/replica/manual_compaction", 400, "app_id should not be empty"},
		{"/replica/manual_compaction?app_id=9", 200, `{"status":{"finished":0,"idle":0,"queuing":0,"running":0}}`},
		{"/config?name=requests.slow_threshold", 200, `"value":"1ns"`},
		{"/updateConfig?requests.slow_threshold=2h", 200, "want a duration"},
		{"/updateConfig?requests.slow_threshold=1h", 200, `{"update_status":"ERR_OK"}`},
		{"/configs", 200, `"value":"1h"`},
		{"/nothing", 404, `service not found for "nothing"`},
		{"/metrics?types=a&types=b", 400, "ERR_INVALID_PARAMETERS: duplicate parameter: types"},
		{"/metrics?a=%4", 400, "partial escape"},
	} {
		if status, body := c.page(tc.path); status != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s: %d %q, want %d and %q", tc.path, status, body, tc.status, tc.want)
		}
	}
	eventually(t, "the census knows the primaries", func() bool {
		_, body := c.page("/replica/data_version?app_id=1")
		return body == `{"0":{"data_version":"1"},"1":{"data_version":"1"}}`+"\n"
	})
	fill(c.dial(), 1, 2, 3, "v") // not slow any more
	if status, body := c.page("/slow?seen=3"); status != 204 || body != "" {
		t.Errorf("nothing new since three: %d %q", status, body)
	}
	if status, _ := c.page("/slow?seen=2"); status != 200 {
		t.Errorf("one more than was seen: %d", status)
	}
	if _, body := c.page("/slow"); !strings.Contains(body, `"op":"put"`) || !strings.Contains(body, `"total":3`) {
		t.Errorf("/slow: %s", body)
	}
}

// Requests that come together are answered in their order, although pages are made elsewhere, and the connection closes after
// the one that wants it closed.
func TestPagesInOrder(t *testing.T) {
	c := newCluster(t, 1)
	conn, err := net.Dial("tcp", c.opts.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	const head = " HTTP/1.1\r\nHost: x\r\n"
	fmt.Fprint(conn, "GET /metrics"+head+"\r\nGET /version"+head+"\r\nGET /none"+head+"\r\nGET /"+head+"Connection: close\r\n\r\nGET /version"+head+"\r\n")
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	var at []int
	for _, mark := range []string{"pegasus_build_info{", `{"Version"`, `service not found for "none"`, "Connection: close", "List all supported calls"} {
		at = append(at, strings.Index(string(all), mark))
	}
	for i, p := range at {
		if p < 0 || i > 0 && p < at[i-1] {
			t.Fatalf("answers at %v:\n%s", at, all)
		}
	}
	if n := strings.Count(string(all), "HTTP/1.1 "); n != 4 {
		t.Errorf("%d answers, want 4", n)
	}
}

// Filling a census again costs the loop copies and no memory.
func TestCensusAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	h := newHot(t, proto.CodeGet, keyArgs("h", "k"), 16)
	a := &census{shard: h.sh, back: make(chan *census, 1), replicas: map[proto.GPID]*replicaCensus{}}
	h.do(func() {
		fill := func() {
			h.serve()
			h.replied()
			a.round++
			a.deliver(h.sh)
			<-a.back
		}
		fill()
		allocs := 1e9
		for range 5 {
			allocs = min(allocs, testing.AllocsPerRun(200, fill))
		}
		if allocs != 0 {
			t.Errorf("%v allocations per census", allocs)
		}
	})
	if n := a.replicas[proto.GPID{App: 1}].kinds[kindGet].latency.Count(); n != a.round*16 && n == 0 {
		t.Errorf("%d gets counted", n)
	}
}

// BenchmarkCensus is what a shard of that many replicas pays once a second, when all have served gets and puts since.
func BenchmarkCensus(b *testing.B) {
	for _, replicas := range []int{10, 1000} {
		b.Run(strconv.Itoa(replicas), func(b *testing.B) {
			h := newHot(b, proto.CodeGet, keyArgs("h", "k"), 1)
			a := &census{shard: h.sh, back: make(chan *census, 1), replicas: map[proto.GPID]*replicaCensus{}}
			h.do(func() {
				var all []*partition
				for i := range replicas {
					p := newPartition(h.sh, proto.GPID{App: 2, Part: int32(i)}, replicaDir{})
					p.meter[kindGet], p.meter[kindPut] = new(kindMeter), new(kindMeter)
					h.sh.partitions[p.gpid] = p
					all = append(all, p)
				}
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					for _, p := range all {
						p.meter[kindGet].bytes++
						p.meter[kindPut].bytes++
					}
					a.round++
					a.deliver(h.sh)
					<-a.back
				}
				b.StopTimer()
				for _, p := range all {
					delete(h.sh.partitions, p.gpid)
				}
			})
		})
	}
}
