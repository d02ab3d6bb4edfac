package browser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// post changes something as a script does that is no browser's.
func post(t *testing.T, leader, path, body string) {
	t.Helper()
	req, err := http.NewRequest("POST", "http://"+leader+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Requested-With", "pegasus-console")
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var out struct{ Error string }
	if err := json.NewDecoder(r.Body).Decode(&out); err != nil || out.Error != "ok" {
		t.Fatalf("%s %s: %v %+v", path, body, err, out)
	}
}

// setLevel chooses a function level by keyboard on the page of jobs.
func setLevel(p *tab, level string) {
	p.t.Helper()
	p.goTo("jobs")
	p.tabTo("the list of levels", "document.activeElement.matches('select')")
	p.press(level[:1])
	p.wait("the level is chosen", fmt.Sprintf("document.querySelector('select').value === %q", level))
	p.tabToButton("Set", "main")
	p.press(kb.Enter)
	p.text("Set the function level to " + level + "?")
	confirm(p, "Set")
	p.text("Function level " + level + ".")
}

// confirm answers the question that is shown with yes, by keyboard.
func confirm(p *tab, yes string) {
	p.t.Helper()
	p.wait("the question has the focus", "document.activeElement.closest('dialog[open]')")
	if !eval[bool](p, fmt.Sprintf("document.activeElement.innerText === %q", yes)) {
		p.tabToButton(yes, "dialog")
	}
	p.press(kb.Enter)
	p.wait("the question is gone", "!document.querySelector('dialog[open]')")
	p.wait("the focus is somewhere", "document.activeElement !== document.body")
}

// Jobs and nodes are dealt with in the console, by keyboard alone, on the page of the leader and on that of another meta, on a wide
// screen and on a narrow one. Nothing happens without a confirmation, and what is refused is said.
func TestActs(t *testing.T) {
	o := healthy(t)
	follower := metas[0]
	if follower == o.Leader {
		follower = metas[1]
	}
	node := o.Nodes[1].Address
	t.Cleanup(func() {
		post(t, o.Leader, "/api/v1/level", `{"level": "steady"}`)
		post(t, o.Leader, "/api/v1/node/return", fmt.Sprintf(`{"node": %q}`, node))
		healthy(t)
	})
	for _, tc := range []struct {
		meta string
		look look
	}{{o.Leader, desktop}, {follower, look{390, 844, true}}} {
		name := fmt.Sprintf("acts-%d", tc.look.width)
		o = healthy(t)
		p := open(t, tc.look, consoleOf(tc.meta))
		p.text("live, from " + o.Leader)
		setLevel(p, "freezed") // a job that rests can be looked at
		p.goTo("node/" + node)
		p.wait("what makes no sense cannot be pressed", "[...document.querySelectorAll('main button')].find((b) => b.innerText === 'Return to service').disabled")
		p.judgeLook(name + "-node")
		p.tabToButton("Drain", "main")
		p.press(kb.Enter)
		p.text("Drain " + node + "?")
		p.judgeLook(name + "-question")
		p.press(kb.Escape)
		p.wait("escape answers no, and the focus is back", "!document.querySelector('dialog[open]') && document.activeElement.innerText === 'Drain'")
		jobs := len(o.Jobs)
		if fetch("/api/v1/overview", &o) != nil || len(o.Jobs) != jobs {
			t.Errorf("a job without a confirmation: %+v", o.Jobs)
		}
		p.press(kb.Enter)
		confirm(p, "Drain")
		p.wait("it is said", "document.getElementById('said').innerText.includes('has begun')")
		p.wait("a drain is not offered twice", "[...document.querySelectorAll('main button')].find((b) => b.innerText === 'Drain').disabled")
		eventually(t, "there is a job", func() bool { return fetch("/api/v1/overview", &o) == nil && len(o.Jobs) == jobs+1 })
		id := o.Jobs[0].ID

		p.goTo("jobs")
		p.text(fmt.Sprintf("#%d drain", id))
		p.text("waits: the cluster is frozen")
		card := fmt.Sprintf("section[aria-label^='job %d ']", id)
		p.judgeLook(name + "-jobs")
		p.tabToButton("Pause", card)
		p.press(kb.Enter)
		confirm(p, "Pause")
		p.wait("it is paused, and the focus is at its opposite", fmt.Sprintf("document.querySelector(%q).innerText.includes('paused by an operator') && document.activeElement.innerText === 'Resume'", card))
		p.judgeLook(name + "-paused")
		p.press(kb.Enter)
		confirm(p, "Resume")
		p.wait("it runs", fmt.Sprintf("document.querySelector(%q).querySelector('.tag').innerText === 'running'", card))

		// While one thinks about it somebody else ends the job.
		p.tabToButton("Cancel", card)
		p.press(kb.Enter)
		p.text("Cancel job")
		p.wait("what destroys is not what has the focus", "document.activeElement.innerText === 'Leave it'")
		post(t, o.Leader, "/api/v1/job/control", fmt.Sprintf(`{"id": %d, "action": "cancel"}`, id))
		p.tabToButton("Cancel the job", "dialog")
		p.press(kb.Enter)
		p.wait("the refusal is shown", fmt.Sprintf("document.querySelector('dialog[open] [role=alert]').innerText.includes('job %d has ended')", id))
		p.judgeLook(name + "-refused")
		p.press(kb.Escape)
		p.wait("what has ended has no buttons", fmt.Sprintf("!document.querySelector('dialog[open]') && document.querySelector(%q).querySelectorAll('button').length === 0", card))

		setLevel(p, "steady")
		p.goTo("node/" + node)
		p.tabToButton("Decommission", "main")
		p.press(kb.Enter)
		confirm(p, "Decommission")
		p.text("leaving")
		p.tabToButton("Return to service", "main")
		p.press(kb.Enter)
		confirm(p, "Return")
		p.wait("it serves again", "document.querySelector('h1 .tag').innerText === 'alive'")
		p.goTo("jobs")
		p.tabToButton("Balance all tables", "main")
		p.press(kb.Enter)
		confirm(p, "Balance")
		p.wait("the balance ends", "[...document.querySelectorAll('section')][0].innerText.includes('balance') && [...document.querySelectorAll('section')][0].innerText.includes('done')")
		p.goTo("table/temp")
		p.tabToButton("Balance", "main")
		healthy(t)
	}
}

// awaited has an evaluation wait for the promise that it gives.
func awaited(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

// A page that nobody looks at asks for nothing, and one that is looked at learns in no bytes that nothing has changed.
func TestQuiet(t *testing.T) {
	o := healthy(t)
	p := open(t, desktop, consoleOf(o.Leader))
	p.text("live, from")
	p.do(chromedp.Evaluate(`window.calls = 0; const f = fetch; window.fetch = (...a) => { calls++; return f(...a); };
		Object.defineProperty(document, "hidden", { configurable: true, get: () => window.away });`, nil))
	for _, path := range []string{"/overview", "/map"} {
		p.wait(path+" is told as unchanged", fmt.Sprintf("performance.getEntriesByType('resource').some((e) => e.name.includes(%q) && e.responseStatus === 204 && e.decodedBodySize === 0)", path))
	}
	p.do(chromedp.Evaluate("window.away = true; document.dispatchEvent(new Event('visibilitychange'))", nil))
	// What was under way ends; from then on several periods pass without a request.
	quiet := `new Promise((done) => { let last = -1, same = 0; const look = setInterval(() => { same = calls === last ? same + 1 : 0; last = calls;
		if (same === 25) { clearInterval(look); done(calls); } }, 200); })`
	var calls int
	p.do(chromedp.Evaluate(quiet, &calls, awaited))
	p.do(chromedp.Evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))", nil))
	p.wait("it asks again when it is looked at", fmt.Sprintf("calls > %d", calls))
}

// Where the configuration does not allow changes there are no buttons, and the metas refuse.
func TestOnlyShows(t *testing.T) {
	o := healthy(t)
	set := func(from, to string) {
		for i := range metas {
			name := fmt.Sprintf("meta%d", i+1)
			path := filepath.Join(dir, name, "meta.toml")
			b, err := os.ReadFile(path)
			if err != nil || !bytes.Contains(b, []byte(from)) {
				t.Fatalf("%s: %v, has no %s", path, err, from)
			}
			if err := os.WriteFile(path, bytes.Replace(b, []byte(from), []byte(to), 1), 0o644); err != nil {
				t.Fatal(err)
			}
			onebox(t, "restart", name)
		}
		o = healthy(t)
	}
	set(`changes = "yes"`, `changes = "no"`)
	t.Cleanup(func() { set(`changes = "no"`, `changes = "yes"`) })
	p := open(t, desktop, consoleOf(o.Leader))
	p.text("live, from")
	for _, page := range []string{"cluster", "tables", "table/temp", "nodes", "node/" + o.Nodes[0].Address, "disks", "jobs"} {
		p.goTo(page)
		if n := eval[int](p, "document.querySelectorAll('main button.act, main select').length"); n > 0 {
			t.Errorf("%s has %d buttons", page, n)
		}
	}
	p.text("This console only shows.")
	p.judgeLook("only-shows")
	p.excuse = "403 (Forbidden)"
	status := 0
	p.do(chromedp.Evaluate(`fetch("/api/v1/job/start", { method: "POST", body: '{"kind": "balance"}', headers: { "Content-Type": "application/json", "X-Requested-With": "pegasus-console" } }).then((r) => r.status)`,
		&status, awaited))
	if status != 403 {
		t.Errorf("a balance is answered with %d", status)
	}
}
