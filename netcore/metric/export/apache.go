package export

import (
	"slices"
	"strings"
	"time"

	"github.com/bytedance/sonic"

	"pegasus/netcore/httpfront"
)

// The /metrics of Apache Pegasus: entities with their metrics, chosen by the parameters of the query (spec tools 4, and the
// recordings 10_http).

// Entity is something that has metrics.
type Entity struct {
	Type       string // "server", "replica", "disk", "table", "partition", ...
	ID         string
	Attributes map[string]string
	Metrics    []Metric
}

// Metric is one figure of an entity.
type Metric struct {
	Name string
	Type string // "Counter", "Gauge", "Percentile"
	Unit string
	Desc string
	// Value is the figure, unless Percentiles is set.
	Value       int64
	Percentiles *Percentiles
}

// Process says whose metrics they are.
type Process struct {
	Cluster string
	Role    string // "meta" or "replica"
	Host    string
	Port    int
}

type answer struct {
	Cluster   string       `json:"cluster"`
	Role      string       `json:"role"`
	Host      string       `json:"host"`
	Port      int          `json:"port"`
	Timestamp int64        `json:"timestamp_ns"`
	Entities  []entityJSON `json:"entities"`
}

type entityJSON struct {
	Type       string            `json:"type"`
	ID         string            `json:"id"`
	Attributes map[string]string `json:"attributes"`
	Metrics    []metricJSON      `json:"metrics"`
}

type metricJSON struct {
	Type  *string `json:"type,omitempty"`
	Name  *string `json:"name,omitempty"`
	Unit  *string `json:"unit,omitempty"`
	Desc  *string `json:"desc,omitempty"`
	Value *int64  `json:"value,omitempty"`
	P50   *int64  `json:"p50,omitempty"`
	P90   *int64  `json:"p90,omitempty"`
	P95   *int64  `json:"p95,omitempty"`
	P99   *int64  `json:"p99,omitempty"`
	P999  *int64  `json:"p999,omitempty"`
}

// query is a parsed query. Empty lists choose everything.
type query struct {
	fields, types, ids, attributes, metrics []string
}

var (
	briefFields = []string{"name", "value", "p50", "p90", "p95", "p99", "p999"}
	allFields   = append([]string{"type", "unit", "desc"}, briefFields...)
)

// Wants tells whether a request for /metrics is in the language of Apache Pegasus. A plain one is Prometheus'.
func Wants(req *httpfront.Request) bool { return strings.Contains(req.Target, "?") }

// Query answers such a request. entities is called with a filter by type and must give at least the entities that it lets
// through; it may be slow, and is not called for a request that makes no sense.
func Query(req *httpfront.Request, p Process, entities func(wanted func(typ string) bool) []Entity) httpfront.Response {
	q, complaint := parseQuery(req)
	if complaint != "" {
		return jsonResponse(400, map[string]string{"error_message": complaint})
	}
	out := answer{Cluster: p.Cluster, Role: p.Role, Host: p.Host, Port: p.Port, Timestamp: time.Now().UnixNano(), Entities: []entityJSON{}}
	list := entities(func(typ string) bool { return chosen(q.types, typ) })
	for i := range list {
		e := &list[i]
		if !chosen(q.types, e.Type) || !chosen(q.ids, e.ID) || !q.attributesMatch(e.Attributes) {
			continue
		}
		j := entityJSON{Type: e.Type, ID: e.ID, Attributes: e.Attributes}
		if j.Attributes == nil {
			j.Attributes = map[string]string{}
		}
		for k := range e.Metrics {
			if m := &e.Metrics[k]; chosen(q.metrics, m.Name) {
				j.Metrics = append(j.Metrics, q.show(m))
			}
		}
		if len(j.Metrics) > 0 {
			out.Entities = append(out.Entities, j)
		}
	}
	return jsonResponse(200, &out)
}

func jsonResponse(status int, v any) httpfront.Response {
	body, err := sonic.ConfigStd.MarshalIndent(v, "", "    ")
	if err != nil {
		return httpfront.Response{Status: 500, Body: []byte(err.Error())}
	}
	return httpfront.Response{Status: status, Body: body}
}

func chosen(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }

func parseQuery(req *httpfront.Request) (q query, complaint string) {
	args, err := req.Query()
	if err != nil {
		return q, err.Error()
	}
	q.fields = briefFields
	detail := false
	lists := map[string]*[]string{
		"with_metric_fields": &q.fields, "types": &q.types, "ids": &q.ids, "attributes": &q.attributes, "metrics": &q.metrics,
	}
	for _, name := range sortedNames(args) {
		value := args[name][0]
		if name == "detail" {
			switch strings.ToLower(value) {
			case "true":
				detail = true
			case "false":
			default:
				return q, "the value of detail should be a boolean value, i.e. true or false"
			}
			continue
		}
		list, known := lists[name]
		if !known {
			return q, "unknown field " + name + "=" + value
		}
		if items := split(value); len(items) > 0 {
			*list = items
		}
	}
	if len(q.attributes)%2 != 0 {
		return q, "the number of arguments for attributes should be even, since each attribute name always pairs with a value"
	}
	if detail {
		q.fields = allFields
	}
	return q, ""
}

func sortedNames(args map[string][]string) []string {
	names := make([]string, 0, len(args))
	for n := range args {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// split cuts a list at commas and leaves out what is empty.
func split(value string) []string {
	return slices.DeleteFunc(strings.Split(value, ","), func(s string) bool { return s == "" })
}

// attributesMatch tells whether any of the asked attributes is the entity's, as Apache Pegasus understands a list of them.
func (q *query) attributesMatch(attributes map[string]string) bool {
	for i := 0; i < len(q.attributes); i += 2 {
		if v, ok := attributes[q.attributes[i]]; ok && v == q.attributes[i+1] {
			return true
		}
	}
	return len(q.attributes) == 0
}

func (q *query) show(m *Metric) (j metricJSON) {
	text := func(field string, v *string) *string {
		if slices.Contains(q.fields, field) {
			return v
		}
		return nil
	}
	number := func(field string, v *int64) *int64 {
		if slices.Contains(q.fields, field) {
			return v
		}
		return nil
	}
	j.Type, j.Name, j.Unit, j.Desc = text("type", &m.Type), text("name", &m.Name), text("unit", &m.Unit), text("desc", &m.Desc)
	if p := m.Percentiles; p != nil {
		j.P50, j.P90, j.P95 = number("p50", &p[0]), number("p90", &p[1]), number("p95", &p[2])
		j.P99, j.P999 = number("p99", &p[3]), number("p999", &p[4])
	} else {
		j.Value = number("value", &m.Value)
	}
	return j
}
