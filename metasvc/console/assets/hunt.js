// Detection of the hot key of one partition, at the node that has its primary; see /hotkey in API.md.

import { say } from "./ask.js";
import { el } from "./dom.js";
import { plural } from "./format.js";

const address = (at, action) => `http://${at.node}/hotkey?app_id=${at.id}&partition=${at.partition}&type=${at.type}${action ? "&action=" + action : ""}`;

async function ask(at, action) {
  let r;
  try {
    r = await fetch(address(at, action), { method: action ? "POST" : "GET", cache: "no-store", signal: AbortSignal.timeout(4000) });
  } catch {
    throw new Error(`No answer from ${at.node}.`);
  }
  if (!r.ok) throw new Error(`${at.node} says: ${await r.text()}`);
  return r.json();
}

// hunt asks how the detection stands that the page is about.
export async function hunt(s) {
  const h = chosen(s);
  if (!h) return {};
  const t = await s.get("table of the hunt: " + h.table, "/api/v1/table?name=" + encodeURIComponent(h.table));
  const node = t.list[h.partition]?.primary;
  if (!node) return { problem: `Partition ${h.partition} has no primary at present.` };
  const at = { ...h, node, id: t.table.id };
  try {
    return { at, ...(await ask(at)) };
  } catch (e) {
    return { problem: e.message };
  }
}

// chosen is what the page is about, as far as there is such a table and such a partition.
function chosen(s) {
  const tables = s.overview?.tables.filter((t) => t.status === "available") ?? [];
  const t = tables.find((t) => t.name === s.hunt?.table) ?? tables[0];
  return t && { table: t.name, partitions: t.partitions, partition: Math.min(s.hunt?.partition ?? 0, t.partitions - 1), type: s.hunt?.type ?? "read" };
}

export function huntBox(s, again) {
  const h = chosen(s), now = s.page ?? {};
  if (!h) return null;
  const set = (name) => ({ change(e) {
    s.hunt = { ...h, [name]: name === "partition" ? Math.max(0, Math.floor(Number(e.target.value)) || 0) : e.target.value };
    again();
    s.refresh();
  } });
  const choice = (name, values) => el("select", { key: name, on: set(name) }, values.map(([v, text]) => el("option", { value: v, selected: v === h[name] }, text)));
  const mine = now.at?.table === h.table && now.at.partition === h.partition && now.at.type === h.type; // else it is about to be asked for
  const act = async (action, done) => {
    try {
      await ask(now.at, action);
      say(done);
    } catch (e) {
      say(e.message);
    }
    s.refresh();
  };
  const button = (label, why, action, done) =>
    el("button.act", { key: label, type: "button", disabled: !!why, title: why || null, on: { click: () => act(action, done) } }, label);
  const where = `${h.table}/${h.partition}`;
  return [el("h2", null, "Watch one partition"),
    el("p.quiet", null, "A detection watches the primary of a partition until one hash key makes a fifth of its requests. It stands in nobody's way. What it found stays until it is cleared."),
    el("div.acts", { key: "acts" },
      el("label", null, "Table ", choice("table", s.overview.tables.filter((t) => t.status === "available").map((t) => [t.name, t.name]))),
      el("label", null, "Partition ", el("input.short", { key: "partition", type: "number", min: 0, max: h.partitions - 1, value: h.partition, on: set("partition") })),
      el("label", null, "Requests ", choice("type", [["read", "reads"], ["write", "writes"]])),
      s.overview.changes ? [
        button("Start", !mine ? "wait a moment" : now.state === "running" ? "it runs" : now.state === "found" ? "it has found one: clear it first" : "", "start", `A detection has begun at ${where}.`),
        button(now.state === "found" ? "Clear" : "Stop", !mine || now.state === "stopped" ? "none runs" : "", "stop", `There is no detection at ${where} now.`)] : null),
    el("p", { key: "hunt", role: "status" }, now.problem ? el("span.t-bad", null, now.problem) : !mine ? "Asking."
      : now.state === "running" ? `Watching ${where} at ${now.at.node} for ${plural(now.seconds, "second")}; it gives up after ${now.longest}.`
        : now.state === "found" ? ["The hot key of ", where, " is ", el("code", null, now.hash_key || "(empty)"), "."]
          : `No detection runs at ${where}.`)];
}
