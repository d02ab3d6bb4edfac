package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// What `pegasus-onebox run` says of the cluster, and where its program is.
var (
	metas    = strings.Split(os.Getenv("PEGASUS_METAS"), ",")
	replicas = strings.Split(os.Getenv("PEGASUS_REPLICAS"), ",")
	dir      = os.Getenv("PEGASUS_ONEBOX_DIR")
	bin      = os.Getenv("PEGASUS_BIN")
	// shots takes pictures of what was seen, if it is set.
	shots = os.Getenv("PEGASUS_SHOTS")
)

const patience = 40 * time.Second

func TestMain(m *testing.M) {
	if dir == "" || bin == "" {
		fmt.Fprintln(os.Stderr, "there is no cluster to look at: `make console-test` starts one")
		os.Exit(1)
	}
	if shots != "" {
		if err := os.MkdirAll(shots, 0o755); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// onebox runs a command on the cluster.
func onebox(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command(filepath.Join(bin, "pegasus-onebox"), append([]string{"--dir", dir}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("pegasus-onebox %v: %v\n%s", args, err, out)
	}
}

// load puts reads and writes on table temp until the test ends.
func load(t *testing.T) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "pegasus-bench"), "--metas", strings.Join(metas, ","), "--table", "temp", "--conns", "1",
		"--depth", "2", "--read", "0.5", "--distribution", "hot", "--duration", "5m", "--rate", "2000", "--records", "2000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// overview is the part of the API that tests look at themselves.
type overview struct {
	Leader string
	Nodes  []struct {
		Address             string
		Alive               bool
		Primaries, Replicas int
	}
	Tables []struct {
		Name   string
		Health map[string]int
	}
	Jobs []struct {
		ID     int64
		Kind   string
		Status string
	}
}

func fetch(path string, out any) error {
	var last error
	for _, m := range metas {
		r, err := http.Get("http://" + m + path)
		if err != nil {
			last = err
			continue
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err == nil && r.StatusCode == 200 {
			return json.Unmarshal(body, out)
		}
		last = fmt.Errorf("%s: %d %s %v", path, r.StatusCode, body, err)
	}
	return last
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(patience); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// healthy waits until all nodes live and all partitions are well.
func healthy(t *testing.T) (o overview) {
	t.Helper()
	eventually(t, "the cluster is well", func() bool {
		o = overview{}
		if fetch("/api/v1/overview", &o) != nil || len(o.Nodes) != len(replicas) || len(o.Tables) == 0 {
			return false
		}
		for _, n := range o.Nodes {
			if !n.Alive {
				return false
			}
		}
		for _, table := range o.Tables {
			for h, n := range table.Health {
				if h != "healthy" && n > 0 {
					return false
				}
			}
		}
		return true
	})
	return o
}

// tab is a page of a browser. Whatever its console says in anger fails the test, and whatever it loads from outside the cluster.
type tab struct {
	t    *testing.T
	ctx  context.Context
	look look

	mu     sync.Mutex
	errors []string
	excuse string // a part of messages that are no fault of the page
}

type look struct {
	width, height int64
	dark          bool
}

var (
	desktop = look{1280, 900, false}
	phone   = look{390, 844, false}
)

func (l look) size() chromedp.Action {
	return emulation.SetDeviceMetricsOverride(l.width, l.height, 1, l.width < 700)
}

func open(t *testing.T, l look, address string) *tab {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(int(l.width), int(l.height)))
	if path, err := exec.LookPath("chromium"); err == nil {
		opts = append(opts, chromedp.ExecPath(path))
	}
	alloc, endAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, end := chromedp.NewContext(alloc)
	ctx, endTime := context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(func() { endTime(); end(); endAlloc() })
	p := &tab{t: t, ctx: ctx, look: l}
	chromedp.ListenTarget(ctx, p.listen)
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	p.do(log.Enable(), runtime.Enable(), network.Enable(),
		l.size(),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		chromedp.Navigate(address))
	t.Cleanup(p.judge)
	return p
}

func (p *tab) listen(ev any) {
	var text string
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		text = ev.ExceptionDetails.Error()
	case *runtime.EventConsoleAPICalled:
		if ev.Type == runtime.APITypeError || ev.Type == runtime.APITypeWarning || ev.Type == runtime.APITypeAssert {
			text = fmt.Sprintf("console.%s with %d arguments", ev.Type, len(ev.Args))
		}
	case *log.EventEntryAdded:
		if ev.Entry.Level == log.LevelError || ev.Entry.Level == log.LevelWarning {
			text = string(ev.Entry.Source) + ": " + ev.Entry.Text + " " + ev.Entry.URL
		}
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(ev.Request.URL)
		if err != nil || u.Scheme != "http" || !slices.Contains(metas, u.Host) && !slices.Contains(replicas, u.Host) {
			text = "something from outside the cluster is loaded: " + ev.Request.URL
		}
	}
	if text != "" {
		p.mu.Lock()
		p.errors = append(p.errors, text)
		p.mu.Unlock()
	}
}

// judge fails the test for everything that the console of the browser complained of.
func (p *tab) judge() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.errors {
		if p.excuse == "" || !strings.Contains(e, p.excuse) {
			p.t.Errorf("the browser's console: %s", e)
		}
	}
}

func (p *tab) do(actions ...chromedp.Action) {
	p.t.Helper()
	if err := chromedp.Run(p.ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// eval runs JavaScript and returns its value.
func eval[T any](p *tab, js string) (v T) {
	p.t.Helper()
	p.do(chromedp.Evaluate(js, &v))
	return v
}

// wait waits until an expression is true.
func (p *tab) wait(what, js string) {
	p.t.Helper()
	for until := time.Now().Add(patience); !eval[bool](p, "!!("+js+")"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(until) {
			p.shot("failed")
			p.t.Fatalf("not within %v: %s\n%s", patience, what, eval[string](p, "document.body.innerText"))
		}
	}
}

// text waits until the page shows something.
func (p *tab) text(part string) {
	p.t.Helper()
	p.wait("the page shows "+part, fmt.Sprintf("document.body.innerText.includes(%q)", part))
}

func (p *tab) goTo(page string) {
	p.t.Helper()
	p.do(chromedp.Evaluate(fmt.Sprintf("location.hash = %q", "#/"+page), nil))
	p.wait("the page "+page+" is there", fmt.Sprintf("decodeURIComponent(location.hash) === %q && !document.querySelector('main').innerText.includes('Loading.')", "#/"+page))
}

// sound is a script that lists what is wrong with the page as it stands: things that are cut off or hang over, letters that cannot
// be read, things to press that have no name.
const sound = `(() => {
  const bad = [], shown = (e) => e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && e.getClientRects().length > 0;
  const name = (e) => (e.className.baseVal ?? e.className) + " <" + e.localName + "> " + (e.innerText ?? "").slice(0, 40);
  const over = document.documentElement.scrollWidth - innerWidth;
  if (over > 0) bad.push("the page is " + over + " pixels wider than the screen");
  if (innerWidth <= 900 || innerWidth >= 1280) for (const e of document.querySelectorAll(".scroll, nav, header, dialog"))
    if (shown(e) && e.scrollWidth > e.clientWidth) bad.push(name(e) + " is wider than its box");
  for (const e of document.querySelectorAll("a, button, input, select")) {
    const label = e.innerText?.trim() || e.getAttribute("aria-label") || e.closest("label")?.innerText?.trim();
    if (shown(e) && !label) bad.push(name(e) + " has no name");
    if (shown(e) && e.tabIndex < 0) bad.push(name(e) + " cannot be reached by keyboard");
  }
  const rgb = (c) => { const m = c.match(/[\d.]+/g).map(Number); return { c: m.slice(0, 3), a: m[3] ?? 1 }; };
  const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255, v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)); return .2126 * r + .7152 * g + .0722 * b; };
  for (const e of document.querySelectorAll("body *")) {
    if (!shown(e) || e.disabled || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const box = e.getBoundingClientRect();
    if (box.width <= 1 || box.right <= 0) continue; // for screen readers
    let under = e;
    while (under && rgb(getComputedStyle(under).backgroundColor).a < 1) under = under.parentElement;
    const x = light(rgb(getComputedStyle(e).color).c), y = light(rgb(getComputedStyle(under ?? document.body).backgroundColor).c);
    const contrast = (Math.max(x, y) + .05) / (Math.min(x, y) + .05);
    if (contrast < 4.5) bad.push(name(e) + " has a contrast of " + contrast.toFixed(1));
  }
  return [...new Set(bad)].slice(0, 20);
})()`

// judgeLook says what is wrong with how the page looks, and takes a picture.
func (p *tab) judgeLook(name string) {
	p.t.Helper()
	for _, fault := range eval[[]string](p, sound) {
		p.t.Errorf("%s: %s", name, fault)
	}
	p.shot(name)
}

// onPhone looks at the page as it is on a narrow screen too.
func (p *tab) onPhone(name string) {
	p.t.Helper()
	p.judgeLook(name)
	p.do(phone.size())
	p.wait("the screen is narrow", "innerWidth < 400")
	p.judgeLook(name + "-390")
	p.do(p.look.size())
}

// tabTo presses the tab key until the focus is where it should be, and seen to be there.
func (p *tab) tabTo(what, js string) {
	p.t.Helper()
	for range 120 {
		p.do(chromedp.KeyEvent(kb.Tab))
		if eval[bool](p, "!!("+js+")") {
			if eval[bool](p, "getComputedStyle(document.activeElement).outlineStyle === 'none' || parseFloat(getComputedStyle(document.activeElement).outlineWidth) < 1") {
				p.t.Errorf("one cannot see that the focus is at %s", what)
			}
			return
		}
	}
	p.t.Fatalf("tab never reaches %s", what)
}

// tabToButton does so for a button by its label, and within a part of the page if that is not empty.
func (p *tab) tabToButton(label, within string) {
	p.t.Helper()
	p.wait("there is a button "+label, fmt.Sprintf("[...document.querySelectorAll(%q)].some((b) => b.innerText === %q && !b.disabled)", strings.TrimSpace(within+" button"), label))
	at := fmt.Sprintf("document.activeElement.matches('button') && document.activeElement.innerText === %q", label)
	if within != "" {
		at += fmt.Sprintf(" && document.activeElement.closest(%q)", within)
	}
	p.tabTo("the button "+label, at)
}

func (p *tab) press(keys string) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(keys))
}

func (p *tab) shot(name string) {
	p.t.Helper()
	if shots == "" {
		return
	}
	var png []byte
	p.do(chromedp.FullScreenshot(&png, 100))
	if err := os.WriteFile(filepath.Join(shots, name+".png"), png, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func consoleOf(meta string) string { return "http://" + meta + "/console/" }
