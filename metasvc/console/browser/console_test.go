package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// nodeName is the onebox's name of a replica server.
func nodeName(t *testing.T, address string) string {
	t.Helper()
	for i, a := range replicas {
		if a == address {
			return fmt.Sprintf("replica%d", i+1)
		}
	}
	t.Fatalf("no replica server at %s", address)
	return ""
}

// Every page shows what it is for, fits a phone, and complains of nothing, in light and in dark.
func TestPages(t *testing.T) {
	o := healthy(t)
	load(t)
	pages := []struct{ name, shows string }{
		{"cluster", "partitions healthy"}, {"tables", "stat"}, {"table/temp", "Ballot"}, {"nodes", o.Nodes[0].Address},
		{"node/" + o.Nodes[0].Address, "disk1"}, {"disks", "disk1"}, {"hot", "Hot keys"}, {"slow", "threshold"}, {"jobs", "Long operations"}, {"events", "leads the meta group"},
	}
	for _, l := range []look{desktop, {1280, 900, true}, phone, {390, 844, true}, {768, 1024, false}} {
		name := fmt.Sprintf("%d-dark=%v", l.width, l.dark)
		t.Run(name, func(t *testing.T) {
			p := open(t, l, consoleOf(o.Leader))
			p.text("live, from " + o.Leader)
			for _, page := range pages {
				p.goTo(page.name)
				p.text(page.shows)
				p.judgeLook(strings.ReplaceAll(strings.Split(page.name, ":")[0], "/", "-") + "-" + name)
			}
			if bright := eval[int](p, "+getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]"); l.dark != (bright < 128) {
				t.Errorf("the background is %d bright, dark is %v", bright, l.dark)
			}
		})
	}
}

// What the page shows is what the cluster has, and it goes on changing by itself.
func TestCluster(t *testing.T) {
	o := healthy(t)
	load(t)
	p := open(t, desktop, consoleOf(o.Leader))
	p.wait("a card for every node", fmt.Sprintf("document.querySelectorAll('.node').length === %d", len(replicas)))
	total, primaries := 0, 0
	for _, n := range o.Nodes {
		total, primaries = total+n.Replicas, primaries+n.Primaries
	}
	p.wait("a square for every replica", fmt.Sprintf("document.querySelectorAll('.node .sq').length === %d", total))
	p.wait("a filled one for every primary", fmt.Sprintf("document.querySelectorAll('.node .sq.primary').length === %d", primaries))
	p.goTo("tables")
	p.do(chromedp.Evaluate("window.mark = 1", nil))
	p.wait("the load shows", "[...document.querySelectorAll('tr')].some((r) => r.innerText.startsWith('temp') && /\\d/.test(r.cells[4].innerText) && r.cells[4].innerText !== '0')")
	p.wait("latencies show", "[...document.querySelectorAll('tr')].some((r) => r.innerText.startsWith('temp') && /s$/.test(r.cells[7].innerText.trim()))")
	p.goTo("hot")
	// The load asks for one key above all others, by reads and writes; what it asks for, and where that lies, is shown.
	p.wait("the hot key of the load shows", "['reads', 'writes'].every((kind) => [...document.querySelectorAll('tbody tr')].some((r) => r.cells[0].innerText === '0000000000000000' && r.cells[1].innerText.startsWith('temp/') && r.cells[2].innerText === kind && parseInt(r.cells[4].innerText) > 50))")
	if eval[int](p, "window.mark") != 1 {
		t.Error("the page was loaded again")
	}
	p.shot("hot-under-load")
}

// A detection is begun, watched and ended by keyboard, while a load has a hot key and the others look on.
func TestHotKeyDetection(t *testing.T) {
	o := healthy(t)
	load(t)
	p := open(t, desktop, consoleOf(o.Leader))
	p.text("live, from " + o.Leader)
	p.goTo("hot")
	p.wait("the hot key of the load shows", "document.querySelectorAll('tbody tr').length > 0")
	part := strings.TrimPrefix(eval[string](p, "document.querySelector('tbody tr').cells[1].innerText"), "temp/")
	p.tabTo("the list of tables", "document.activeElement.matches('select')")
	p.press("t")
	p.tabTo("the partition", "document.activeElement.matches('input[type=number]')")
	p.press(part + kb.Tab)
	p.text("No detection runs at temp/" + part)
	p.tabToButton("Start", "main")
	p.press(kb.Enter)
	p.wait("it runs, or is through already", "/Watching temp|The hot key of temp/.test(document.querySelector('main [role=status]').innerText)")
	p.wait("the key is found", "/The hot key of temp.* is 0000000000000000/.test(document.querySelector('main [role=status]').innerText)")
	p.onPhone("hot-detected")
	p.tabToButton("Clear", "main")
	p.press(kb.Enter)
	p.text("No detection runs at temp/" + part)
	p.wait("the focus is somewhere", "document.activeElement !== document.body")
}

// The console of a meta that does not lead shows the same.
func TestFollower(t *testing.T) {
	o := healthy(t)
	for _, m := range metas {
		if m != o.Leader {
			p := open(t, desktop, consoleOf(m))
			p.text("live, from " + o.Leader)
			p.goTo("table/temp")
			p.text("Ballot")
			p.goTo("slow")
			return
		}
	}
}

// Everything is reached by keyboard: pages by number, sorting and links by tab and enter, the filter by slash.
func TestKeyboard(t *testing.T) {
	o := healthy(t)
	p := open(t, desktop, consoleOf(o.Leader))
	p.text("live, from")
	p.do(chromedp.KeyEvent("2"))
	p.wait("key 2 opens tables", "location.hash === '#/tables' && document.activeElement.id === 'main'")
	p.text("stat")
	p.do(chromedp.KeyEvent("/"))
	p.wait("slash leads to the filter", "document.activeElement.matches('input')")
	p.do(chromedp.KeyEvent("sta"))
	p.wait("the filter leaves one table", "document.querySelectorAll('tbody tr').length === 1")
	p.do(chromedp.KeyEvent(kb.Backspace + kb.Backspace + kb.Backspace))
	p.wait("and shows all again", "document.querySelectorAll('tbody tr').length >= 2")
	p.tabTo("the header of a column", "document.activeElement.matches('th button')")
	p.do(chromedp.KeyEvent(kb.Enter))
	p.wait("enter sorts", "document.querySelector('th[aria-sort]') !== null")
	p.tabTo("a table's name", "document.activeElement.matches('td a')")
	p.do(chromedp.KeyEvent(kb.Enter))
	p.wait("enter follows a link", "location.hash.startsWith('#/table/')")
	// The first stop of a page is the link that skips the navigation; it leads to the content and stays on the page.
	before := eval[string](p, "location.hash")
	p.do(chromedp.Evaluate("document.activeElement.blur(); document.querySelector('.skip').focus()", nil))
	p.press(kb.Enter)
	p.wait("the content has the focus", "document.activeElement.id === 'main'")
	if now := eval[string](p, "location.hash"); now != before {
		t.Errorf("skipping the navigation of %s leads to %s", before, now)
	}
}

// A node dies and comes back while one looks: the page says so without being loaded again, and what is done about it.
func TestNodeFails(t *testing.T) {
	o := healthy(t)
	load(t)
	p := open(t, desktop, consoleOf(o.Leader))
	p.wait("all nodes live", fmt.Sprintf("document.querySelectorAll('.node').length === %d", len(replicas)))
	p.do(chromedp.Evaluate("window.mark = 1", nil))
	victim := o.Nodes[len(o.Nodes)-1].Address
	onebox(t, "kill", nodeName(t, victim))
	t.Cleanup(func() { healthy(t) })
	p.wait("the node is dead", "document.querySelectorAll('.node.dead').length === 1")
	p.text(victim + " is not heard of")
	p.wait("partitions are in need", "document.querySelectorAll('h2')[0].innerText.startsWith('Partitions in need')")
	p.text("is a member no more")
	p.wait("it is read out", fmt.Sprintf("document.getElementById('news').innerText.includes(%q)", victim+" is not heard of"))
	p.onPhone("node-failed")
	p.goTo("nodes")
	p.wait("the page of nodes counts it", "document.querySelector('nav a[aria-current] .count')?.innerText === '1'")
	p.onPhone("node-failed-nodes")
	p.goTo("node/" + victim)
	p.onPhone("node-failed-node")
	p.goTo("table/temp")
	p.onPhone("node-failed-table")
	p.goTo("slow")
	p.goTo("cluster")
	onebox(t, "restart", nodeName(t, victim))
	p.wait("all is well again", "document.querySelectorAll('.node.dead').length === 0 && document.querySelector('.cards .t-ill') === null")
	p.goTo("events")
	p.text(victim + " is back")
	p.onPhone("events-after-failure")
	if eval[int](p, "window.mark") != 1 {
		t.Error("the page was loaded again")
	}
}

// The meta that served the page dies: the page goes on with another one, which tells what happened before it led.
func TestMetaFails(t *testing.T) {
	o := healthy(t)
	p := open(t, desktop, consoleOf(o.Leader))
	p.excuse = "net::ERR_CONNECTION_REFUSED" // that the dead meta does not answer is what this is about
	p.text("live, from " + o.Leader)
	name := ""
	for i, m := range metas {
		if m == o.Leader {
			name = fmt.Sprintf("meta%d", i+1)
		}
	}
	onebox(t, "kill", name)
	t.Cleanup(func() {
		onebox(t, "restart", name)
		healthy(t)
	})
	p.wait("another meta answers", fmt.Sprintf("document.getElementById('link').innerText.startsWith('live') && !document.getElementById('link').innerText.includes(%q)", o.Leader))
	p.wait("nodes are shown", fmt.Sprintf("document.querySelectorAll('.node').length === %d", len(replicas)))
	p.onPhone("meta-failed")
	p.text("leads the meta group")
	var now overview
	eventually(t, "another meta leads", func() bool { return fetch("/api/v1/overview", &now) == nil && now.Leader != o.Leader })
	fresh := open(t, desktop, consoleOf(now.Leader))
	fresh.excuse = p.excuse
	fresh.goTo("events")
	fresh.text(now.Leader + " leads the meta group")
	fresh.text(o.Leader + " leads the meta group")
	fresh.text("table temp is created")
	fresh.shot("meta-failed-events")
}

// begin starts a job by HTTP and returns its number.
func begin(t *testing.T, leader string, job map[string]string) int64 {
	t.Helper()
	body, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.Post("http://"+leader+"/meta/job/start", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var out struct {
		Error string
		Job   struct{ ID int64 }
	}
	if err := json.NewDecoder(r.Body).Decode(&out); err != nil || out.Error != "ok" {
		t.Fatalf("%v: %d %v %+v", job, r.StatusCode, err, out)
	}
	return out.Job.ID
}

// A drain and then a balance go on while one looks: the node is marked, the job moves, its events come, the squares move.
func TestDrainAndBalance(t *testing.T) {
	o := healthy(t)
	load(t)
	p := open(t, desktop, consoleOf(o.Leader))
	p.wait("all nodes live", fmt.Sprintf("document.querySelectorAll('.node').length === %d", len(replicas)))
	p.do(chromedp.Evaluate("window.mark = 1", nil))
	drained := o.Nodes[0].Address
	card := fmt.Sprintf("[...document.querySelectorAll('.node')].find((n) => n.innerText.includes(%q))", drained)
	drain := begin(t, o.Leader, map[string]string{"kind": "drain", "node": drained})
	p.wait("the node is being emptied", card+".classList.contains('draining')")
	p.wait("its primaries are gone", card+".querySelectorAll('.sq.primary').length === 0")
	p.onPhone("drain-cluster")
	p.goTo("jobs")
	p.wait("the drain is done", fmt.Sprintf("[...document.querySelectorAll('section')].some((s) => s.innerText.includes('#%d drain') && s.innerText.includes('done'))", drain))
	p.onPhone("drain-jobs")
	p.goTo("events")
	p.text(fmt.Sprintf("job %d", drain))

	// Back in service it has no primaries: a balance gives it some.
	onebox(t, "restart", nodeName(t, drained))
	healthy(t)
	balance := begin(t, o.Leader, map[string]string{"kind": "balance"})
	p.goTo("jobs")
	p.text(fmt.Sprintf("#%d balance", balance))
	p.onPhone("balance-jobs")
	p.goTo("cluster")
	p.wait("it is primary again", card+".querySelectorAll('.sq.primary').length > 0")
	p.wait("and in service", "!"+card+".classList.contains('draining')")
	p.onPhone("balance-cluster")
	eventually(t, "the balance is done", func() bool {
		var now overview
		if fetch("/api/v1/overview", &now) != nil {
			return false
		}
		for _, j := range now.Jobs {
			if j.ID == balance {
				return j.Status == "done"
			}
		}
		return false
	})
	p.goTo("jobs")
	p.wait("both are done", "[...document.querySelectorAll('section')].filter((s) => s.innerText.includes('done')).length >= 2")
	p.onPhone("balance-done")
	if eval[int](p, "window.mark") != 1 {
		t.Error("the page was loaded again")
	}
}

// Slow requests of all nodes come together, each with where its time went.
func TestSlowRequests(t *testing.T) {
	o := healthy(t)
	threshold := func(d string) {
		for _, a := range replicas {
			r, err := http.Get("http://" + a + "/updateConfig?requests.slow_threshold=" + d)
			if err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
		}
	}
	threshold("1us")
	t.Cleanup(func() { threshold("100ms") })
	load(t)
	p := open(t, desktop, consoleOf(o.Leader))
	p.text("live, from")
	p.goTo("slow")
	p.wait("slow requests are listed", "document.querySelectorAll('tbody tr').length > 10")
	p.wait("a write's time is explained by log or peers", "document.querySelector('.stages .s-log, .stages .s-peers') !== null")
	p.onPhone("slow-requests")
}
