// The console asks the leading meta for the overview every two seconds, and for what the present page needs besides. When the
// meta that it came from is gone it goes on with the others.

import { onChange } from "./ask.js";
import { el, show } from "./dom.js";
import { clock, plural } from "./format.js";
import { pages } from "./pages.js";

const interval = 2000;
const historyLength = 90;

const state = {
  base: location.origin,
  bases: [location.origin],
  overview: null,
  extra: null, // what the page asked for besides
  extraOf: "",
  events: [],
  lastEvent: 0,
  history: new Map(), // table or node -> traffic of the last minutes
  at: 0,
  failed: "",
  filter: "",
  get: null, // for pages that ask for more than one thing
  refresh: null,
};

const route = () => {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  return { name: name in pages ? name : "cluster", arg: decodeURIComponent(rest.join("/")) };
};

// get asks for an answer of the API. What was told last is kept by name, so that the metas need not tell it again.
const kept = new Map(); // name -> the answer
async function get(name, path) {
  let problem = new Error("no meta leads");
  const last = kept.get(name);
  if (last?.etag) path += (path.includes("?") ? "&" : "?") + "etag=" + last.etag;
  const left = [state.base, ...state.bases.filter((b) => b !== state.base)];
  for (let tries = 0; left.length && tries < 8; tries++) {
    const base = left.shift();
    try {
      const r = await fetch(base + path, { cache: "no-store", signal: AbortSignal.timeout(4000) });
      if (r.status === 404) throw Object.assign(new Error(await r.text()), { gone: true });
      if (!r.ok) throw new Error(`${base} says ${r.status}`);
      const answer = r.status === 204 ? { ...last, events: [] } : await r.json();
      if ("elsewhere" in answer) {
        if (answer.elsewhere) left.unshift("http://" + answer.elsewhere);
        continue;
      }
      state.base = new URL(r.url).origin;
      kept.set(name, answer);
      return answer;
    } catch (e) {
      if (e.gone) throw e;
      problem = e;
    }
  }
  throw problem;
}

// post has the leader change something. It is never sent twice: whether a request without an answer was carried out, nobody knows.
async function post(path, body) {
  let base = state.base;
  for (let hops = 0; hops < 4; hops++) {
    let r, text;
    try {
      r = await fetch(base + path, {
        method: "POST", cache: "no-store", signal: AbortSignal.timeout(15000), body: JSON.stringify(body),
        headers: { "Content-Type": "application/json", "X-Requested-With": "pegasus-console" },
      });
      text = await r.text();
    } catch {
      throw new Error(`No answer from ${base}. It may have been done all the same: see how things stand before you try again.`);
    }
    if (!r.ok) throw new Error(text.trim() || `${base} says ${r.status}.`);
    const answer = JSON.parse(text);
    if (answer.elsewhere) base = "http://" + answer.elsewhere;
    else if (answer.error === "ok") return answer;
    else if ("elsewhere" in answer || answer.error === "ERR_FORWARD_TO_OTHERS") throw new Error("No meta leads at present. Try again in a moment.");
    else if (answer.error === "ERR_TIMEOUT") throw new Error("The leader changed before it had answered. It may have been done all the same: see how things stand.");
    else throw new Error("Refused: " + answer.error);
  }
  throw new Error("The metas do not agree on who leads. Try again in a moment.");
}

async function poll() {
  try {
    const o = await get("overview", "/api/v1/overview?after=" + state.lastEvent);
    if (o.last_event < state.lastEvent) state.events = [];
    tell(o.events);
    state.events = [...state.events, ...o.events].slice(-1000);
    state.lastEvent = o.last_event;
    state.overview = o;
    state.bases = [...new Set([location.origin, ...o.metas.map((m) => "http://" + m)])];
    remember(o);
    await more();
    state.at = Date.now();
    state.failed = "";
  } catch (e) {
    state.failed = e.message || String(e);
  }
  draw();
}

// tell reads out what just happened to nodes, metas and jobs; not what was so when the page was opened, and not a flood.
function tell(events) {
  if (!state.lastEvent) return;
  const list = events.filter((e) => ["node", "meta", "job"].includes(e.kind)).slice(-3);
  if (list.length) show(document.getElementById("news"), list.map((e) => el("p", { key: e.seq }, e.text)));
}

// more asks for what only this page shows.
async function more() {
  const { name, arg } = route(), page = name + "/" + arg;
  const what = pages[name].needs?.(arg, state);
  if (!what) return;
  try {
    state.extra = await (typeof what === "string" ? get(page, what) : what);
  } catch (e) {
    if (!e.gone) throw e;
    state.extra = { gone: e.message };
  }
  state.extraOf = page;
}

function remember(o) {
  for (const [kind, list] of [["t", o.tables], ["n", o.nodes]]) {
    for (const x of list) {
      const key = kind + (x.name ?? x.address);
      const h = state.history.get(key) ?? [];
      h.push(x.traffic);
      if (h.length > historyLength) h.shift();
      state.history.set(key, h);
    }
  }
}

function draw() {
  const o = state.overview, { name, arg } = route();
  document.body.classList.toggle("lost", !!state.failed);
  const lamp = document.getElementById("link");
  lamp.className = state.failed ? "link lost" : "link";
  show(lamp, state.failed ? `no answer since ${state.at ? clock(state.at) : "the start"}` : o ? `live, from ${o.leader}` : "connecting");
  if (!o) return;
  document.title = `${o.concerns.length ? "⚠ " : ""}${o.cluster} · ${pages[name].title}`;
  show(document.getElementById("cluster"), o.cluster);
  show(document.getElementById("nav"), Object.entries(pages).filter(([, p]) => !p.below).map(([id, p], i) => {
    const n = p.count?.(o) ?? 0;
    return el("a", { key: id, href: "#/" + id, "aria-current": id === name || pages[name].below === id ? "page" : null, title: `key ${i + 1}` },
      p.title, n ? el("span.count", { class: p.calm ? "calm" : null, role: "img", "aria-label": plural(n, "matter") }, n) : null);
  }));
  state.page = state.extraOf === name + "/" + arg ? state.extra : null;
  const main = document.getElementById("main"), focused = document.activeElement;
  show(main, pages[name].draw(state, arg, draw));
  // What had the focus may be gone or of no use now; the focus must not fall to the top of the page.
  if (focused !== document.body && (!focused.isConnected || focused.disabled)) main.focus();
  show(document.getElementById("foot"), `Pegasus ${o.version}; function level ${o.level}; revision ${o.revision}; metas ${o.metas.join(", ")}. Keys: 1 to ${document.getElementById("nav").children.length} pages, / filter.`);
}

// One asks every two seconds, for as long as somebody looks: a hidden page is silent.
let timer, busy;
async function tick() {
  clearTimeout(timer);
  if (document.hidden || busy) return;
  busy = true;
  await poll();
  busy = false;
  if (!document.hidden) timer = setTimeout(tick, interval);
}

[state.get, state.refresh] = [get, tick];
onChange(post, tick);
addEventListener("hashchange", async () => {
  for (const name of kept.keys()) if (name !== "overview") kept.delete(name);
  state.filter = "";
  scrollTo(0, 0);
  draw();
  document.getElementById("main").focus();
  await more().catch((e) => (state.failed = e.message));
  draw();
});
document.querySelector(".skip").addEventListener("click", (e) => {
  e.preventDefault(); // its address would be that of a page
  document.getElementById("main").focus();
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : tick()));
addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.matches("input, textarea, select") || document.querySelector("dialog[open]")) return;
  const pagesShown = [...document.querySelectorAll("#nav a")];
  if (e.key >= "1" && e.key <= String(pagesShown.length)) pagesShown[e.key - 1].click();
  else if (e.key === "/") e.preventDefault(); // some browsers open a search of their own
});
addEventListener("keyup", (e) => e.key === "/" && !e.target.matches("input, textarea") && !document.querySelector("dialog[open]") && document.querySelector("input")?.focus());
tick();
