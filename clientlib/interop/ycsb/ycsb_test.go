package ycsb

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/XiaoMi/pegasus-go-client/pegalog"
	"github.com/XiaoMi/pegasus-go-client/pegasus"
	"github.com/magiconair/properties"
	_ "github.com/pingcap/go-ycsb/db/pegasus"
	"github.com/pingcap/go-ycsb/pkg/client"
	"github.com/pingcap/go-ycsb/pkg/measurement"
	_ "github.com/pingcap/go-ycsb/pkg/workload"
	"github.com/pingcap/go-ycsb/pkg/ycsb"
)

func TestMain(m *testing.M) {
	if os.Getenv("PEGASUS_METAS") == "" {
		fmt.Fprintln(os.Stderr, "there is no cluster to test against: `make interop` starts one")
		os.Exit(1)
	}
	pegalog.SetLogger(log.New(io.Discard, "", 0))
	os.Exit(m.Run())
}

const (
	threads    = 8
	records    = 400
	operations = 1000
	fields     = 10
	fieldBytes = 100
)

// watched is the driver with a memory: it counts what the workload did and keeps every value written per key, so that
// what the cluster holds afterwards can be judged. The driver itself throws away what a read returns.
type watched struct {
	ycsb.DB
	reads, scans, writes, failed atomic.Int64
	why                          atomic.Value // the first error

	mu      sync.Mutex
	written map[string]map[string]bool
}

func (w *watched) note(err error) error {
	if err != nil {
		w.failed.Add(1)
		w.why.CompareAndSwap(nil, err.Error())
	}
	return err
}

func (w *watched) Read(ctx context.Context, table, key string, fields []string) (map[string][]byte, error) {
	w.reads.Add(1)
	row, err := w.DB.Read(ctx, table, key, fields)
	return row, w.note(err)
}

// Scan does nothing in the driver: hashed keys have no order to scan in.
func (w *watched) Scan(ctx context.Context, table, key string, count int, fields []string) ([]map[string][]byte, error) {
	w.scans.Add(1)
	list, err := w.DB.Scan(ctx, table, key, count, fields)
	return list, w.note(err)
}

func (w *watched) Insert(ctx context.Context, table, key string, values map[string][]byte) error {
	w.writes.Add(1)
	text, err := json.Marshal(values)
	if err != nil {
		return w.note(err)
	}
	w.mu.Lock()
	if w.written[key] == nil {
		w.written[key] = map[string]bool{}
	}
	w.written[key][string(text)] = true
	w.mu.Unlock()
	return w.note(w.DB.Insert(ctx, table, key, values))
}

// Update goes by the driver's Insert. Its Update gives the client a nil sort key, which the client refuses before it
// sends anything; the request meant is the same.
func (w *watched) Update(ctx context.Context, table, key string, values map[string][]byte) error {
	return w.Insert(ctx, table, key, values)
}

func open(t *testing.T, p *properties.Properties) *watched {
	t.Helper()
	creator := ycsb.GetDBCreator("pegasus")
	if creator == nil {
		t.Fatal("go-ycsb has no Pegasus driver")
	}
	db, err := creator.Create(p)
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{DB: db, written: map[string]map[string]bool{}}
	t.Cleanup(func() { w.Close() })
	return w
}

func run(t *testing.T, db ycsb.DB, p *properties.Properties, transactions bool) {
	t.Helper()
	set(p, "dotransactions", strconv.FormatBool(transactions))
	workload, err := ycsb.GetWorkloadCreator("core").Create(p)
	if err != nil {
		t.Fatal(err)
	}
	defer workload.Close()
	measurement.InitMeasure(p)
	measurement.EnableWarmUp(transactions)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client.NewClient(p, workload, db).Run(ctx)
	if ctx.Err() != nil {
		t.Fatal("the workload did not end in time")
	}
}

func set(p *properties.Properties, key, value string) {
	if _, _, err := p.Set(key, value); err != nil {
		panic(err)
	}
}

func TestWorkloads(t *testing.T) {
	for _, w := range []struct {
		name                                  string
		read, update, insert, scan, readWrite string
		distribution                          string
	}{
		{"A", "0.5", "0.5", "0", "0", "0", "zipfian"},
		{"B", "0.95", "0.05", "0", "0", "0", "zipfian"},
		{"C", "1", "0", "0", "0", "0", "zipfian"},
		{"D", "0.95", "0", "0.05", "0", "0", "latest"},
		{"E", "0", "0", "0.05", "0.95", "0", "zipfian"},
		{"F", "0.5", "0", "0", "0", "0.5", "zipfian"},
	} {
		t.Run(w.name, func(t *testing.T) {
			p := properties.NewProperties()
			for key, value := range map[string]string{
				"meta_servers": os.Getenv("PEGASUS_METAS"), "table": "temp", "threadcount": strconv.Itoa(threads), "workload": "core",
				"recordcount": strconv.Itoa(records), "operationcount": strconv.Itoa(operations), "fieldcount": strconv.Itoa(fields),
				"fieldlength": strconv.Itoa(fieldBytes), "readproportion": w.read, "updateproportion": w.update,
				"insertproportion": w.insert, "scanproportion": w.scan, "readmodifywriteproportion": w.readWrite,
				"requestdistribution": w.distribution, "keyprefix": w.name, "silence": "true", "writeallfields": "true",
				"measurement.interval": "3600",
			} {
				set(p, key, value)
			}
			db := open(t, p)
			run(t, db, p, false)
			if n := db.writes.Load(); n != records {
				t.Errorf("the load wrote %d records, want %d", n, records)
			}
			run(t, db, p, true)
			t.Logf("%d reads, %d writes, %d scans", db.reads.Load(), db.writes.Load()-records, db.scans.Load())
			if done := db.reads.Load() + db.writes.Load() + db.scans.Load() - records; done < operations {
				t.Errorf("%d operations, want at least %d", done, operations)
			}
			if n := db.failed.Load(); n > 0 {
				t.Errorf("%d operations failed, the first with: %v", n, db.why.Load())
			}
			db.verify(t)
		})
	}
}

// verify reads every record back with the client and compares it with what was written.
func (w *watched) verify(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := pegasus.NewClient(pegasus.Config{MetaServers: strings.Split(os.Getenv("PEGASUS_METAS"), ",")})
	defer c.Close()
	tb, err := c.OpenTable(ctx, "temp")
	if err != nil {
		t.Fatal(err)
	}
	if len(w.written) < records {
		t.Errorf("%d keys were written, want at least %d", len(w.written), records)
	}
	for key, values := range w.written {
		got, err := tb.Get(ctx, []byte(key), []byte{})
		if err != nil {
			t.Fatal(err)
		}
		// Writers of one key race, so any of its values may be the last one.
		if !values[string(got)] {
			t.Fatalf("key %s holds %d bytes that nobody wrote", key, len(got))
		}
		var row map[string][]byte
		if err := json.Unmarshal(got, &row); err != nil || len(row) != fields {
			t.Fatalf("key %s holds %d fields, %v", key, len(row), err)
		}
	}
}
