// Pieces that several pages are made of.

import { el } from "./dom.js";
import { bytes, count, micros } from "./format.js";

const sorting = new Map(); // id of a table -> {column, down}

// table makes a sortable table. columns are {name, num, text, address, value: row => to sort by, cell: row => to show, note}. On narrow screens
// a row becomes a block with the names of its columns in it; roles are given because layout would take them away.
export function table(id, caption, columns, rows, { keyOf, again, none }) {
  const sort = sorting.get(id);
  let list = [...rows];
  if (sort && columns[sort.column]) {
    const value = columns[sort.column].value;
    list.sort((a, b) => {
      const x = value(a), y = value(b);
      return (x < y ? -1 : x > y ? 1 : 0) * (sort.down ? -1 : 1);
    });
  }
  const head = columns.map((c, i) => {
    const on = sort?.column === i;
    const turn = () => {
      sorting.set(id, { column: i, down: on ? !sort.down : !!c.num });
      again();
    };
    return el("th", { class: classes(c), scope: "col", role: "columnheader", "aria-sort": on ? (sort.down ? "descending" : "ascending") : null, title: c.note },
      c.value ? el("button", { type: "button", on: { click: turn, keydown: enter(turn) }, tabindex: "0" }, c.name, on ? (sort.down ? " ▾" : " ▴") : "") : c.name);
  });
  if (!list.length) return el("p.quiet", null, none ?? "There is nothing.");
  return el("div.scroll", { tabindex: "0", role: "region", "aria-label": caption },
    el("table", { role: "table" }, el("caption", null, caption), el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, head)),
      el("tbody", { role: "rowgroup" }, list.map((r) => el("tr", { key: keyOf(r), role: "row" },
        columns.map((c) => el("td", { class: classes(c), role: "cell", "data-name": c.name }, (c.cell ?? c.value)(r))))))));
}

const enter = (fn) => (e) => {
  if (e.key === "Enter" || e.key === " ") {
    e.preventDefault();
    fn();
  }
};

const classes = (c) => [c.num && "num", c.text && "text", c.address && "address"].filter(Boolean).join(" ") || null;

const percent = (part, whole) => (whole > 0 ? Math.max(0, Math.min(100, (100 * part) / whole)) : 0) + "%";

// bar fills the part of the whole; mark is where the mean lies.
export function bar(part, whole, { mark, warn, full, label } = {}) {
  const share = whole > 0 ? part / whole : 0;
  return el("div.bar", { class: full && share >= full ? "full" : warn && share >= warn ? "warn" : null, "--part": percent(part, whole),
    "--mark": mark != null ? percent(mark, whole) : null, role: "img", "aria-label": label, title: label }, el("i"), mark != null ? el("b") : null);
}

// pair is a line of a card: what, how it looks, and how much.
export const pair = (name, picture, value) => el("div.pair", null, el("span", null, name), picture, el("span", null, value));

export const link = (page, name, text) => el("a", { href: "#/" + page + "/" + encodeURIComponent(name) }, text ?? name);

const healthTags = { healthy: "good", ill: "ill", unwritable: "bad", unreadable: "bad", dead: "dead" };
export const healthTag = (h) => el("span.tag", { class: "t-" + healthTags[h] }, h);
export const tag = (kind, text) => el("span.tag", { class: "t-" + kind }, text);

// tableHealth sums up the partitions of a table in one tag.
export function tableHealth(t) {
  if (t.status !== "available") return tag("quiet", t.status);
  for (const h of ["dead", "unreadable", "unwritable", "ill"]) if (t.health[h]) return tag(healthTags[h], `${t.health[h]} ${h}`);
  return tag("good", "healthy");
}

// spark draws the reads and writes of the last minutes.
export function spark(history) {
  const values = history?.length === 1 ? [...history, ...history] : history ?? []; // a point alone is no line
  const top = Math.max(1, ...values.map((v) => Math.max(v.reads, v.writes)));
  const line = (name) => values.map((v, i) => `${i ? "L" : "M"}${(100 * i) / Math.max(1, values.length - 1)} ${20 - (19 * v[name]) / top}`).join("");
  return el("svg.spark", { viewBox: "0 0 100 21", preserveAspectRatio: "none", role: "img", "aria-label": `reads and writes, at most ${count(top)} per second` },
    el("path", { d: line("reads") || "M0 20" }), el("path.w", { d: line("writes") || "M0 20" }));
}

// The columns that show a load.
export const trafficColumns = [
  { name: "Reads/s", num: true, value: (r) => r.traffic.reads, cell: (r) => count(r.traffic.reads) },
  { name: "Writes/s", num: true, value: (r) => r.traffic.writes, cell: (r) => count(r.traffic.writes) },
  { name: "Read p50", num: true, value: (r) => r.latency.read_p50, cell: (r) => micros(r.latency.read_p50), note: "median of the last ten seconds" },
  { name: "Read p99", num: true, value: (r) => r.latency.read_p99, cell: (r) => micros(r.latency.read_p99), note: "the worst replica of the last ten seconds" },
  { name: "Write p50", num: true, value: (r) => r.latency.write_p50, cell: (r) => micros(r.latency.write_p50), note: "median of the last ten seconds" },
  { name: "Write p99", num: true, value: (r) => r.latency.write_p99, cell: (r) => micros(r.latency.write_p99), note: "the worst replica of the last ten seconds" },
  { name: "Size", num: true, value: (r) => r.bytes, cell: (r) => bytes(r.bytes) },
];
