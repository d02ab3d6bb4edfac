// Package golden holds recorded traffic of an Apache Pegasus server and reads it: cases of steps, each a request frame
// with the places that a replay must rewrite, and the normalised response. It knows the files and the frames' patches
// only; it dials nobody and decodes no message (package compare does). Tests alone import it.
package golden

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

//go:embed testdata
var files embed.FS

// maxLine bounds one step in the files; the longest recorded one has about 100 kB.
const maxLine = 4 << 20

// Target says which server of the cluster a step addresses.
type Target string

// The targets of the recordings.
const (
	TargetMeta      Target = "meta"      // the leader
	TargetPrimary   Target = "primary"   // of Table, Partition
	TargetSecondary Target = "secondary" // the first one of Table, Partition
	TargetNonmember Target = "nonmember" // a replica server without a replica of Table, Partition
	TargetReplica   Target = "replica"   // any replica server
)

// Framing is the dialect of a step.
type Framing string

// The framings of the recordings.
const (
	FramingV0   Framing = "v0"   // THFT, 48-byte header
	FramingV1   Framing = "v1"   // THFT, thrift meta
	FramingRDSN Framing = "rdsn" // native header
	FramingHTTP Framing = "http"
)

// Outcome is what became of a request.
type Outcome string

// The outcomes of the recordings.
const (
	OutcomeReply   Outcome = "reply"
	OutcomeNoReply Outcome = "no_reply" // the connection stays open
	OutcomeClosed  Outcome = "closed"
)

// Case is a sequence of steps that belong together and run in order. Hash keys are unique per case.
type Case struct {
	Suite string // file name without extension, for example 01_basic
	Name  string
	Steps []Step
}

// String returns suite/name.
func (c *Case) String() string { return c.Suite + "/" + c.Name }

// Tables returns the names of the tables that the steps of the case use, in order of first use. Those that Tables()
// lists must exist before the case runs; the others are made by its own steps.
func (c *Case) Tables() []string {
	var out []string
	seen := map[string]bool{"": true}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	for i := range c.Steps {
		s := &c.Steps[i]
		add(s.Table)
		add(s.SetupTable)
		for _, p := range s.Patches {
			add(p.Table)
		}
	}
	return out
}

// Step is one request and what the recorded server made of it.
type Step struct {
	Suite string `json:"suite"`
	Case  string `json:"case"`
	Step  int    `json:"step"` // from 1 in the case, gaps are possible

	Target     Target  `json:"target"`
	Table      string  `json:"table"`
	Partition  int32   `json:"partition"`
	SetupTable string  `json:"setup_table"`
	Conn       string  `json:"conn"` // label: one TCP connection per (label, address) in a case
	Framing    Framing `json:"framing"`
	RPC        string  `json:"rpc"`
	Seqid      int64   `json:"seqid"`

	SleepMS int    `json:"sleep_ms"` // wait before sending
	WaitMS  int    `json:"wait_ms"`  // how long to wait for the reply; 0 means the replayer's default
	Chunk   int    `json:"chunk"`    // send the frame in pieces of so many bytes, ChunkPause apart
	Group   string `json:"group"`    // consecutive steps of one group are written together

	RetryUntil *RetryUntil `json:"retry_until"`

	Request    json.RawMessage `json:"request"`
	RequestHex string          `json:"request_hex"` // packed, see Expand
	Patches    []Patch         `json:"patches"`
	HTTP       *HTTPRequest    `json:"http"`

	// Response is what is compared: a tree of map[string]any, []any, string, bool, nil and json.Number.
	Response    map[string]any   `json:"response"`
	ResponseHex string           `json:"response_hex"` // the raw recorded reply, packed; "" for HTTP
	Volatile    []string         `json:"volatile"`     // response paths that are not compared, * = any index or key
	Tolerance   map[string]int64 `json:"tolerance"`    // response path to allowed absolute difference
	Note        string           `json:"note"`
}

// ChunkPause is the pause between the pieces of a chunked frame.
const ChunkPause = 3 * time.Millisecond

// RetryInterval is the pause between the repetitions of a step with RetryUntil.
const RetryInterval = 500 * time.Millisecond

// RetryUntil repeats a step until the response has Value at Path (asynchronous work); only the last response counts.
type RetryUntil struct {
	Path  string `json:"path"`
	Value any    `json:"value"`
	MaxMS int    `json:"max_ms"`
}

// HTTPRequest is the request of a step with HTTP framing. {app:NAME} in Path stands for the app id of the table.
type HTTPRequest struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Body   string `json:"body"`
}

// String returns suite/case#step rpc.
func (s *Step) String() string { return fmt.Sprintf("%s/%s#%d %s", s.Suite, s.Case, s.Step, s.RPC) }

// Outcome returns the recorded outcome.
func (s *Step) Outcome() Outcome {
	o, _ := s.Response["outcome"].(string)
	return Outcome(o)
}

// Frame returns the complete request frame as recorded, in a new slice.
func (s *Step) Frame() ([]byte, error) { return Expand(s.RequestHex) }

// Suites returns the names of the recorded suites in order.
func Suites() ([]string, error) {
	names, err := fs.Glob(files, "testdata/*.jsonl.gz")
	if err != nil {
		return nil, err
	}
	for i, n := range names {
		names[i] = strings.TrimSuffix(path.Base(n), ".jsonl.gz")
	}
	return names, nil
}

// Load returns the cases of the named suites, or of all suites when none is named, in recorded order. A suite may be
// named in full (01_basic) or by its number (01).
func Load(suites ...string) ([]Case, error) {
	all, err := Suites()
	if err != nil {
		return nil, err
	}
	if len(suites) == 0 {
		suites = all
	}
	var out []Case
	for _, want := range suites {
		name := ""
		for _, s := range all {
			if number, _, _ := strings.Cut(s, "_"); s == want || number == want {
				name = s
			}
		}
		if name == "" {
			return nil, fmt.Errorf("golden: no suite %q", want)
		}
		if out, err = loadSuite(out, name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func loadSuite(dst []Case, name string) ([]Case, error) {
	packed, err := files.ReadFile("testdata/" + name + ".jsonl.gz")
	if err != nil {
		return nil, err
	}
	zr, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("golden: %s: %w", name, err)
	}
	lines := bufio.NewScanner(zr)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for n := 1; lines.Scan(); n++ {
		var s Step
		dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		dec.UseNumber() // bodies hold i64 values that a float64 cannot
		if err := dec.Decode(&s); err != nil {
			return nil, fmt.Errorf("golden: %s line %d: %w", name, n, err)
		}
		if last := len(dst) - 1; last < 0 || dst[last].Suite != s.Suite || dst[last].Name != s.Case {
			dst = append(dst, Case{Suite: s.Suite, Name: s.Case})
		}
		c := &dst[len(dst)-1]
		c.Steps = append(c.Steps, s)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("golden: %s: %w", name, err)
	}
	return dst, nil
}

// Table is a table that must exist before the cases that use it run.
type Table struct {
	Name             string            `json:"name"`
	PartitionCount   int32             `json:"partition_count"`
	ReplicaCount     int32             `json:"replica_count"`
	Envs             map[string]string `json:"envs"`
	AtomicIdempotent bool              `json:"atomic_idempotent"`
}

// Tables returns the tables of the recordings by name order.
func Tables() ([]Table, error) {
	f, err := files.Open("testdata/tables.json")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	var out []Table
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("golden: tables.json: %w", err)
	}
	return out, nil
}
