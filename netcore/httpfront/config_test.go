package httpfront

import (
	"errors"
	"net/url"
	"testing"
)

func TestConfig(t *testing.T) {
	got := ""
	c := NewConfig("name = \"x\"\nlist = [\"a\", \"b\"]\n[limits]\nmax = 7\n[limits.deep]\non = true\n", map[string]func(string) error{
		"limits.max": func(v string) error {
			if v == "bad" {
				return errors.New("bad value")
			}
			got = v
			return nil
		},
	})
	for _, tc := range []struct {
		page   func(url.Values) Response
		query  string
		status int
		want   string
	}{
		{c.One, "name=limits.max", 200, `{"name":"limits.max","section":"limits","type":"int64","value":"7","tags":["mutable"]}` + "\n"},
		{c.One, "name=limits.deep.on", 200, `{"name":"limits.deep.on","section":"limits.deep","type":"bool","value":"true","tags":[]}` + "\n"},
		{c.One, "name=list", 200, `{"name":"list","section":"","type":"list","value":"[\"a\",\"b\"]","tags":[]}` + "\n"},
		{c.One, "name=none", 200, "ERR_OBJECT_NOT_FOUND: 'none' is not found"},
		{c.One, "", 400, "name shouldn't be empty"},
		{c.One, "name=x&y=1", 400, ""},
		{c.Update, "", 200, `{"update_status":"ERR_INVALID_PARAMETERS: there should be exactly one config to be updated once"}` + "\n"},
		{c.Update, "a=1&b=2", 200, `{"update_status":"ERR_INVALID_PARAMETERS: there should be exactly one config to be updated once"}` + "\n"},
		{c.Update, "none=1", 200, `{"update_status":"ERR_OBJECT_NOT_FOUND: none is not found"}` + "\n"},
		{c.Update, "name=1", 200, `{"update_status":"ERR_INVALID_PARAMETERS: name is not mutable"}` + "\n"},
		{c.Update, "limits.max=bad", 200, `{"update_status":"ERR_INVALID_PARAMETERS: bad value"}` + "\n"},
		{c.Update, "limits.max=9", 200, `{"update_status":"ERR_OK"}` + "\n"},
		{c.One, "name=limits.max", 200, `{"name":"limits.max","section":"limits","type":"int64","value":"9","tags":["mutable"]}` + "\n"},
	} {
		args, err := url.ParseQuery(tc.query)
		if err != nil {
			t.Fatal(err)
		}
		r := tc.page(args)
		if status := max(r.Status, 200); status != tc.status || string(r.Body) != tc.want {
			t.Errorf("%s: %d %s, want %d %s", tc.query, status, r.Body, tc.status, tc.want)
		}
	}
	if got != "9" {
		t.Errorf("set to %q", got)
	}
	if r := c.All(); len(r.Body) < 100 {
		t.Errorf("all: %s", r.Body)
	}
	if r := NewConfig("not toml", nil).All(); string(r.Body) != "{}\n" {
		t.Errorf("of a broken text: %s", r.Body)
	}
}
