package shard

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"pegasus/netcore/proto"
)

// A detection is begun, watched and ended by pages; pages of strangers are refused.
func TestHotkeyPage(t *testing.T) {
	c := newCluster(t, 2)
	c.table(1, 1, nil)
	post := func(action, origin string) (status int, s hotkeyState) {
		t.Helper()
		req, err := http.NewRequest("POST", "http://"+c.opts.Listen+"/hotkey?app_id=1&partition=0&type=read&action="+action, nil)
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		client := http.Client{Timeout: patience}
		r, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if r.StatusCode == 200 {
			if err := json.Unmarshal(b, &s); err != nil {
				t.Fatalf("%s: %v", b, err)
			}
		}
		return r.StatusCode, s
	}
	look := func() (s hotkeyState) {
		t.Helper()
		if status, body := c.page("/hotkey?app_id=1&partition=0&type=read"); status != 200 || json.Unmarshal([]byte(body), &s) != nil {
			t.Fatalf("%d %s", status, body)
		}
		return s
	}
	if status, _ := post("start", "http://evil.example"); status != 403 || look().State != "stopped" {
		t.Errorf("a stranger's page: %d, %+v", status, look())
	}
	if status, _ := post("begin", ""); status != 400 {
		t.Errorf("an unknown action: %d", status)
	}
	if status, s := post("start", "http://"+c.opts.Metas[0]); status != 200 || s.State != "running" || s.GPID != "1.0" || s.Type != "read" {
		t.Errorf("a meta's page: %d, %+v", status, s)
	}
	cl := c.dial()
	eventually(t, "the key is found", func() bool {
		for i := range 400 {
			k := "hot\n"
			if i%2 == 0 {
				k = fmt.Sprint("k", i)
			}
			_, h := partOf(1, 1, k)
			cl.add(proto.CodeGet, only, h, keyArgs(k, ""))
		}
		cl.flush()
		for range 400 {
			cl.recv()
		}
		return look().State == "found"
	})
	if s := look(); s.HashKey != `hot\n` {
		t.Errorf("found %+v", s)
	}
	if status, s := post("stop", ""); status != 200 || s.State != "stopped" || s.HashKey != "" {
		t.Errorf("at the end: %d, %+v", status, s)
	}
}
