package report

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func sample() *Doc {
	d := &Doc{}
	d.Fields("general").Set("name", "temp").Set("partitions", 8).Set("created", time.Unix(0, 0)).
		Set("balance", "{\n  \"total\": 0\n}")
	t := d.Table("nodes", "address", "status", "replicas", "share")
	t.Row("10.0.0.1:34801", Good("alive"), 12, 33.3333)
	t.Row("a:1", Bad("dead"), nil, 0.5)
	d.Text("log", "one\ntwo")
	return d
}

const wantText = `[general]
name       : temp
partitions : 8
created    : 1970-01-01 00:00:00
balance    : {
               "total": 0
             }

[nodes]
address         status  replicas  share
10.0.0.1:34801  alive         12  33.33
a:1             dead           -   0.50

[log]
one
two
`

func TestText(t *testing.T) {
	var b strings.Builder
	p := Printer{W: &b}
	if err := p.Print(sample()); err != nil || b.String() != wantText {
		t.Errorf("%v, printed\n%s\nwant\n%s", err, b.String(), wantText)
	}
	b.Reset()
	p.Colour = true
	if err := p.Print(sample()); err != nil || !strings.Contains(b.String(), "\x1b[31mdead\x1b[0m") {
		t.Errorf("%v: no red in %q", err, b.String())
	}
}

func TestJSON(t *testing.T) {
	var b strings.Builder
	p := Printer{W: &b, JSON: true, Colour: true}
	if err := p.Print(sample()); err != nil {
		t.Fatal(err)
	}
	want := `{"general":{"name":"temp","partitions":8,"created":"1970-01-01T00:00:00Z","balance":"{\n  \"total\": 0\n}"},` +
		`"nodes":[{"address":"10.0.0.1:34801","status":"alive","replicas":12,"share":33.3333},` +
		`{"address":"a:1","status":"dead","replicas":null,"share":0.5}],"log":"one\ntwo"}` + "\n"
	if b.String() != want {
		t.Errorf("printed %s\nwant %s", b.String(), want)
	}
	if !json.Valid([]byte(b.String())) {
		t.Error("not JSON")
	}
	b.Reset()
	only := &Doc{}
	only.Table("", "key").Row("v")
	if err := p.Print(only); err != nil || b.String() != `[{"key":"v"}]`+"\n" {
		t.Errorf("a document of one nameless table: %v, %s", err, b.String())
	}
	b.Reset()
	if err := p.Object("text", "n", 1, "s", "x"); err != nil || b.String() != `{"n":1,"s":"x"}`+"\n" {
		t.Errorf("%v, %s", err, b.String())
	}
}
