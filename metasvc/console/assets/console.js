// The console asks the leading meta for the overview every two seconds, and for what the present page needs besides. When the
// meta that it came from is gone it goes on with the others.

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
};

const route = () => {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  return { name: name in pages ? name : "cluster", arg: decodeURIComponent(rest.join("/")) };
};

async function get(path) {
  let problem = new Error("no meta leads");
  const left = [state.base, ...state.bases.filter((b) => b !== state.base)];
  for (let tries = 0; left.length && tries < 8; tries++) {
    const base = left.shift();
    try {
      const r = await fetch(base + path, { cache: "no-store", signal: AbortSignal.timeout(4000) });
      if (r.status === 404) throw Object.assign(new Error(await r.text()), { gone: true });
      if (!r.ok) throw new Error(`${base} says ${r.status}`);
      const answer = await r.json();
      if ("elsewhere" in answer) {
        if (answer.elsewhere) left.unshift("http://" + answer.elsewhere);
        continue;
      }
      state.base = new URL(r.url).origin;
      return answer;
    } catch (e) {
      if (e.gone) throw e;
      problem = e;
    }
  }
  throw problem;
}

async function poll() {
  try {
    const o = await get("/api/v1/overview?after=" + state.lastEvent);
    if (o.last_event < state.lastEvent) state.events = [];
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

// more asks for what only this page shows.
async function more() {
  const { name, arg } = route();
  const what = pages[name].needs?.(arg, state);
  if (!what) return;
  try {
    state.extra = await (typeof what === "string" ? get(what) : what);
  } catch (e) {
    if (!e.gone) throw e;
    state.extra = { gone: e.message };
  }
  state.extraOf = name + "/" + arg;
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
      p.title, n ? el("span.count", { "aria-label": plural(n, "matter") }, n) : null);
  }));
  state.page = state.extraOf === name + "/" + arg ? state.extra : null;
  show(document.getElementById("main"), pages[name].draw(state, arg, draw));
  show(document.getElementById("foot"), `Pegasus ${o.version}; function level ${o.level}; revision ${o.revision}; metas ${o.metas.join(", ")}. Keys: 1 to ${document.getElementById("nav").children.length} pages, / filter.`);
}

let timer, busy;
async function tick() {
  clearTimeout(timer);
  if (!document.hidden && !busy) {
    busy = true;
    await poll();
    busy = false;
  }
  timer = setTimeout(tick, interval);
}

addEventListener("hashchange", async () => {
  state.filter = "";
  scrollTo(0, 0);
  draw();
  document.getElementById("main").focus();
  await more().catch((e) => (state.failed = e.message));
  draw();
});
document.addEventListener("visibilitychange", () => !document.hidden && tick());
addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.matches("input, textarea")) return;
  const pagesShown = [...document.querySelectorAll("#nav a")];
  if (e.key >= "1" && e.key <= String(pagesShown.length)) pagesShown[e.key - 1].click();
  else if (e.key === "/") e.preventDefault(); // some browsers open a search of their own
});
addEventListener("keyup", (e) => e.key === "/" && !e.target.matches("input, textarea") && document.querySelector("input")?.focus());
tick();
