// The pages. Each has a title, draw(state, arg, again) that makes its elements, and perhaps needs(arg, state): the address of
// what it shows besides the overview, or a promise of it.

import { active, balanceAct, guardian, jobActs, jobName, nodeActs } from "./acts.js";
import { el } from "./dom.js";
import { bytes, clock, count, date, micros, plural, seconds } from "./format.js";
import { hunt, huntBox } from "./hunt.js";
import { bar, healthTag, link, pair, spark, table, tableHealth, tag, trafficColumns } from "./widgets.js";

const sum = (list, of) => list.reduce((n, x) => n + of(x), 0);
const healths = ["healthy", "ill", "unwritable", "unreadable", "dead"];
const filterBox = (s, again, what) =>
  el("input", { key: "filter", type: "search", placeholder: "filter " + what + "  ( / )", "aria-label": "filter " + what, on: {
    input(e) {
      s.filter = e.target.value;
      again();
    },
  } });
const matches = (s, ...texts) => !s.filter || texts.some((t) => String(t).toLowerCase().includes(s.filter.toLowerCase()));
const waiting = (s) => (s.page?.gone ? el("p", null, s.page.gone) : el("p.quiet", null, "Loading."));

function cards(o) {
  const live = o.nodes.filter((n) => n.alive).length, tables = o.tables.filter((t) => t.status === "available");
  const partitions = sum(tables, (t) => t.partitions), well = sum(tables, (t) => t.health.healthy ?? 0);
  const one = (big, label, kind) => el("div.card", null, el("div.big", { class: kind && "t-" + kind }, big), el("div.label", null, label));
  return el("div.cards", null,
    one(`${live} / ${o.nodes.length}`, "nodes alive", live < o.nodes.length ? "bad" : "good"),
    one(`${count(well)} / ${count(partitions)}`, "partitions healthy", well < partitions ? "ill" : "good"),
    one(count(sum(tables, (t) => t.traffic.reads)), "reads per second"),
    one(count(sum(tables, (t) => t.traffic.writes)), "writes per second"),
    one(bytes(sum(o.nodes, (n) => n.bytes)), "stored, all copies"),
    one(String(o.jobs.filter((j) => j.status === "running").length), "jobs running"));
}

function nodeState(n) {
  if (!n.alive) return tag("bad", `dead, silent for ${seconds(n.silent_ms / 1000)}`);
  if (n.mode && n.mode !== "in service") return tag("ill", n.mode);
  if (!n.connected) return tag("ill", "not connected");
  return tag("good", "alive");
}

// The map: for every node its replicas, the first of a partition filled, in the colour of the partition's health.
function clusterMap(s) {
  const o = s.overview, map = s.page;
  const meanPrimaries = sum(o.nodes, (n) => n.primaries) / Math.max(1, o.nodes.filter((n) => n.alive).length);
  const meanReplicas = sum(o.nodes, (n) => n.replicas) / Math.max(1, o.nodes.filter((n) => n.alive).length);
  const most = Math.max(1, ...o.nodes.map((n) => n.replicas));
  const squares = (address) => {
    if (!map?.tables) return null;
    const at = map.nodes.indexOf(address), out = [];
    for (const t of map.tables) {
      t.members.forEach((members, i) => {
        const place = members.indexOf(at);
        if (place < 0) return;
        const role = place === 0 ? "primary" : place >= t.learners[i] ? "learner" : "secondary";
        out.push(el("div.sq", { key: t.id + "." + i, class: `${role} h-${healths[t.health[i]]}`, title: `${t.name}/${i}: ${role}, ${healths[t.health[i]]}` }));
      });
    }
    return out;
  };
  return el("div.nodes", null, o.nodes.map((n) => el("section.card.node", { key: n.address, class: !n.alive ? "dead" : n.mode !== "in service" ? "draining" : null },
    el("h3", null, link("node", n.address), nodeState(n)),
    n.replicas ? el("div.squares", { role: "img", "aria-label": `${n.primaries} primaries and ${n.replicas - n.primaries} secondaries` }, squares(n.address)) : el("p.quiet", null, "no replica"),
    pair("primaries", bar(n.primaries, most, { mark: meanPrimaries, label: `${n.primaries} primaries; the mean is ${meanPrimaries.toFixed(1)}` }), n.primaries),
    pair("replicas", bar(n.replicas, most, { mark: meanReplicas, label: `${n.replicas} replicas; the mean is ${meanReplicas.toFixed(1)}` }), n.replicas),
    pair("traffic", spark(s.history.get("n" + n.address)), `${count(n.traffic.reads + n.traffic.writes)}/s`))));
}

const concernsShown = 6;
const concernColumns = [
  { name: "Partition", value: (c) => c.table + "/" + c.gpid, cell: (c) => link("table", c.table, `${c.table}/${c.gpid.split(".")[1]}`) },
  { name: "Health", value: (c) => healths.indexOf(c.health), cell: (c) => healthTag(c.health) },
  { name: "What is being done", text: true, value: (c) => c.doing, cell: (c) => c.doing || "being looked at" },
];

function eventList(events, none) {
  if (!events.length) return el("p.quiet", null, none);
  return el("div.scroll", { tabindex: "0", role: "region", "aria-label": "events" }, el("ol.events", null, events.map((e) => el("li", { key: e.seq },
    el("time", { datetime: new Date(e.at).toISOString(), title: new Date(e.at).toLocaleString() }, clock(e.at)), el("span.quiet", null, e.kind), el("span", null, e.text)))));
}

function jobRow(s, j) {
  const kind = { running: "good", paused: "ill", failed: "bad", done: "quiet", canceled: "quiet" }[j.status];
  return el("section.card", { key: j.id, "aria-label": jobName(j) },
    el("h3", null, el("span", null, `#${j.id} ${j.kind} `, j.node ? link("node", j.node) : j.table ? link("table", j.table) : null), tag(kind, j.status)),
    active(j)
      ? [el("p", null, `step ${j.steps.indexOf(j.step) + 1} of ${j.steps.length}: ${j.step}`),
        pair(j.unit, bar(j.done, j.total, { label: `${j.done} of ${j.total} ${j.unit}` }), j.total ? `${count(j.done)}/${count(j.total)}` : "–")]
      : null,
    j.waiting ? el("p", null, "waits: " + j.waiting) : null,
    j.reason ? el("p", null, j.reason) : null,
    el("p.quiet", null, `began ${date(j.started)}`, j.ended ? `, ended ${date(j.ended)}` : "", j.auto ? ", unasked" : ""),
    jobActs(s, j));
}

const partitionColumns = (list) => [
  { name: "Partition", num: true, value: (p) => p.index },
  { name: "Health", text: list.some((p) => p.doing || p.learners.length), value: (p) => healths.indexOf(p.health), cell: (p) => [healthTag(p.health), " ", p.doing, p.learners.length && !p.doing ? `learning: ${p.learners.join(", ")}` : ""] },
  { name: "Primary", address: true, value: (p) => p.primary, cell: (p) => (p.primary ? link("node", p.primary) : "–") },
  { name: "Secondaries", text: true, value: (p) => p.secondaries.join(), cell: (p) => p.secondaries.map((a, i) => [i ? ", " : "", link("node", a)]) },
  ...trafficColumns,
  { name: "Ballot", num: true, value: (p) => p.ballot },
];

const hotColumns = [
  { name: "Hash key", text: true, value: (h) => h.hash_key, cell: (h) => el("code", null, h.hash_key || "(empty)") },
  { name: "Partition", value: (h) => h.table + h.gpid, cell: (h) => link("table", h.table, `${h.table}/${h.gpid.split(".")[1]}`) },
  { name: "Kind", value: (h) => h.write, cell: (h) => (h.write ? "writes" : "reads") },
  { name: "Per second", num: true, value: (h) => h.per_sec, cell: (h) => "≈ " + count(h.per_sec) },
  { name: "Of the partition's", num: true, value: (h) => h.percent, cell: (h) => h.percent + " %" },
  { name: "Node", address: true, value: (h) => h.node, cell: (h) => link("node", h.node) },
];

const envList = (envs) => Object.entries(envs ?? {}).map(([k, v], i) => [i ? ", " : "", el("code", null, `${k}=${v}`)]);

// slow asks every node that lives for its slow log.
const slowSeen = new Map(); // node -> what it told last
async function slowRequests(s) {
  const silent = [];
  const answers = await Promise.all((s.overview?.nodes ?? []).filter((n) => n.alive).map(async (n) => {
    try {
      const r = await fetch(`http://${n.address}/slow?count=50&seen=${slowSeen.get(n.address)?.total ?? ""}`, { cache: "no-store", signal: AbortSignal.timeout(3000) });
      if (r.status !== 204) slowSeen.set(n.address, await r.json());
      return slowSeen.get(n.address).requests.map((q) => ({ ...q, node: n.address }));
    } catch {
      silent.push(n.address);
      slowSeen.delete(n.address);
      return [];
    }
  }));
  return { silent, list: answers.flat().sort((a, b) => (a.at < b.at ? 1 : -1)).slice(0, 200) };
}

const stageNames = ["queue", "lane", "store", "log", "peers", "apply", "back"];
const slowColumns = [
  { name: "When", value: (r) => r.at, cell: (r) => clock(Date.parse(r.at)) },
  { name: "What", text: true, value: (r) => r.op, cell: (r) => [r.op, " ", el("code", null, r.hash_key + (r.sort_key ? " : " + r.sort_key : "")), r.traced ? " (traced)" : ""] },
  { name: "Table", value: (r) => r.table, cell: (r) => link("table", r.table, `${r.table}/${r.gpid.split(".")[1]}`) },
  { name: "Took", num: true, value: (r) => r.total_us, cell: (r) => micros(r.total_us) },
  { name: "Where the time went", text: true, cell: (r) => {
    const worst = stageNames.filter((n) => r.stages_us[n]).sort((a, b) => r.stages_us[b] - r.stages_us[a]);
    return [el("div.stages", { role: "img", "aria-label": worst.map((n) => `${n} ${micros(r.stages_us[n])}`).join(", ") },
      stageNames.filter((n) => r.stages_us[n]).map((n) => el("i", { class: "s-" + n, "--part": (100 * r.stages_us[n]) / Math.max(1, r.total_us) + "%", title: `${n} ${micros(r.stages_us[n])}` }))),
    el("span.quiet", null, worst.slice(0, 3).map((n) => `${n} ${micros(r.stages_us[n])}`).join(", "))];
  } },
  { name: "Node", address: true, value: (r) => r.node, cell: (r) => link("node", r.node) },
];

export const pages = {
  cluster: {
    title: "Cluster",
    count: (o) => o.concerns.length + o.more_concerns,
    needs: () => "/api/v1/map",
    draw: (s, _, again) => {
      const o = s.overview;
      return [
        el("h1", null, "Cluster"), cards(o),
        o.concerns.length ? [el("h2", null, `Partitions in need, and what the guardian does (${o.concerns.length + o.more_concerns})`),
          table("concerns", "partitions in need", concernColumns, o.concerns.slice(0, concernsShown), { keyOf: (c) => c.gpid, again }),
          o.concerns.length > concernsShown ? el("details", { key: "more" }, el("summary", null, "and more"),
            table("concerns2", "more partitions in need", concernColumns, o.concerns.slice(concernsShown), { keyOf: (c) => c.gpid, again }),
            o.more_concerns ? el("p.quiet", null, `${count(o.more_concerns)} others are not listed here; see the pages of the tables.`) : null) : null] : null,
        el("h2", null, "Nodes and their replicas"), clusterMap(s),
        el("p.legend", { "aria-hidden": "true" }, el("span", null, el("i.sq.primary.h-healthy"), "primary"), el("span", null, el("i.sq.h-healthy"), "secondary"),
          el("span", null, el("i.sq.learner.h-ill"), "learner"), el("span", null, el("i.sq.primary.h-ill"), "fewer copies than wanted"),
          el("span", null, el("i.sq.primary.h-unwritable"), "no writes"), el("span", null, el("i.sq.primary.h-dead"), "no copy alive"), el("span", null, "▏ the mean")),
        s.page?.omitted ? el("p.quiet", null, `${s.page.omitted} partitions are not on the map.`) : null,
        el("h2", null, "Latest events"), eventList(s.events.slice(-8).reverse(), "Nothing has happened yet."),
      ];
    },
  },
  tables: {
    title: "Tables",
    draw: (s, _, again) => [
      el("h1", null, "Tables"), filterBox(s, again, "tables"),
      table("tables", "tables", [
        { name: "Table", value: (t) => t.name, cell: (t) => (t.status === "available" ? link("table", t.name) : t.name) },
        { name: "Health", value: (t) => (t.health.dead ?? 0) * 1e6 + t.partitions - (t.health.healthy ?? 0), cell: tableHealth },
        { name: "Partitions", num: true, value: (t) => t.partitions, cell: (t) => `${t.partitions} × ${t.replicas}` },
        { name: "Traffic", cell: (t) => spark(s.history.get("t" + t.name)) },
        ...trafficColumns,
      ], s.overview.tables.filter((t) => matches(s, t.name, t.id)), { keyOf: (t) => t.id, again, none: s.filter ? "No table matches." : "There is no table. Create one with the shell: create NAME." }),
    ],
  },
  table: {
    title: "Table", below: "tables",
    needs: (name) => "/api/v1/table?name=" + encodeURIComponent(name),
    draw: (s, name, again) => {
      if (!s.page?.list) return [el("h1", null, name), waiting(s)];
      const t = s.page.table;
      return [
        el("h1", null, t.name, " ", tableHealth(t)),
        el("p", null, `${plural(t.partitions, "partition")} of ${plural(t.replicas, "replica")}; a write needs ${plural(t.min_write, "member")}. Created ${date(t.created)}. `,
          Object.keys(t.envs ?? {}).length ? ["Environments: ", envList(t.envs)] : "No environments."),
        s.overview.changes ? el("div.acts", { key: "acts" }, balanceAct(s, t.name)) : null,
        el("div.squares", { role: "img", "aria-label": "health of the partitions" }, s.page.list.map((p) => el("div.sq.primary", { key: p.index, class: "h-" + p.health, title: `${p.index}: ${p.health}` }))),
        table("partitions", "partitions of " + t.name, partitionColumns(s.page.list), s.page.list, { keyOf: (p) => p.index, again }),
        hot(s.page.list.flatMap((p) => p.hot), again),
      ];
    },
  },
  nodes: {
    title: "Nodes",
    count: (o) => o.nodes.filter((n) => !n.alive).length,
    draw: (s, _, again) => [
      el("h1", null, "Nodes"), filterBox(s, again, "nodes"),
      table("nodes", "nodes", [
        { name: "Node", value: (n) => n.address, cell: (n) => link("node", n.address) },
        { name: "State", value: (n) => n.alive + n.mode, cell: nodeState },
        { name: "Zone", value: (n) => n.zone, cell: (n) => n.zone || "–" },
        { name: "Primaries", num: true, value: (n) => n.primaries },
        { name: "Replicas", num: true, value: (n) => n.replicas, cell: (n) => [n.replicas, n.learning ? ` +${n.learning}` : "", n.failed ? el("span.t-bad", null, ` ${n.failed} failed`) : ""] },
        ...trafficColumns,
        { name: "Disks", value: (n) => Math.min(1, ...n.disks.map((d) => d.available_mb / Math.max(1, d.capacity_mb))), cell: (n) => n.disks.map((d) => diskBar(d)) },
      ], s.overview.nodes.filter((n) => matches(s, n.address, n.zone, n.mode)), { keyOf: (n) => n.address, again, none: s.filter ? "No node matches." : "No node has registered. Replica servers do so when they start: see metas in their configuration." }),
    ],
  },
  node: {
    title: "Node", below: "nodes",
    needs: (address) => "/api/v1/node?address=" + encodeURIComponent(address),
    draw: (s, address, again) => {
      if (!s.page?.list) return [el("h1", null, address), waiting(s)];
      const n = s.page.node;
      return [
        el("h1", null, n.address, " ", nodeState(n)),
        el("p", null, `${plural(n.primaries, "primary", "primaries")}, ${plural(n.replicas - n.primaries, "secondary", "secondaries")}, ${plural(n.shards, "shard")}. `,
          el("a", { href: `http://${n.address}/metrics` }, "metrics"), " · ", el("a", { href: `http://${n.address}/slow` }, "slow requests"), el("span.quiet", null, ` · id ${n.id}`)),
        nodeActs(s, n),
        el("h2", null, "Disks"),
        table("disks", "disks of " + n.address, diskColumns, n.disks, { keyOf: (d) => d.tag, again, none: n.alive ? "The node has not told of its disks yet." : "A dead node tells nothing of its disks." }),
        el("h2", null, "Replicas"), filterBox(s, again, "replicas"),
        table("replicas", "replicas on " + n.address, [
          { name: "Partition", value: (r) => r.table + r.gpid, cell: (r) => (r.table ? link("table", r.table, `${r.table}/${r.gpid.split(".")[1]}`) : r.gpid) },
          { name: "Role", value: (r) => r.role, cell: (r) => (r.failure ? tag("bad", "failed") : r.role) },
          ...trafficColumns,
          { name: "Disk", value: (r) => r.disk },
          { name: "Failure", text: true, value: (r) => r.failure },
        ], s.page.list.filter((r) => matches(s, r.table, r.gpid, r.role, r.failure)), { keyOf: (r) => r.gpid, again, none: s.filter ? "No replica matches." : "It has no replica." }),
      ];
    },
  },
  disks: {
    title: "Disks",
    count: (o) => sum(o.nodes, (n) => n.disks.filter((d) => d.status !== "normal").length),
    draw: (s, _, again) => [
      el("h1", null, "Disks"), filterBox(s, again, "disks"),
      table("all-disks", "disks of all nodes", [{ name: "Node", value: (d) => d.node, cell: (d) => link("node", d.node) }, ...diskColumns],
        s.overview.nodes.flatMap((n) => n.disks.map((d) => ({ ...d, node: n.address }))).filter((d) => matches(s, d.node, d.tag, d.status, d.dir)),
        { keyOf: (d) => d.node + d.tag, again, none: s.filter ? "No disk matches." : "No node has told of its disks. They do so every few seconds." }),
    ],
  },
  hot: {
    title: "Hot keys",
    needs: (_, s) => hunt(s),
    draw: (s, _, again) => [el("h1", null, "Hot keys"), el("p.quiet", null, "Hash keys that came most often in the last ten seconds. Every replica looks for them all the time, at one request in 64; a key that is too rare to matter is not listed."),
      table("hot", "hot keys", hotColumns, s.overview.hot, { keyOf: (h) => h.gpid + h.write + h.hash_key, again, none: "No key stands out: none came more than some fifty times a second at one partition." }),
      huntBox(s, again)],
  },
  slow: {
    title: "Slow requests",
    needs: (_, s) => slowRequests(s),
    draw: (s, _, again) => [el("h1", null, "Slow requests"),
      el("p.quiet", null, "Requests that took longer than the threshold of their table, from the nodes' slow logs."),
      el("p.legend", { "aria-hidden": "true" }, stageNames.map((n) => el("span", null, el("i.sq.primary", { class: "s-" + n, "--tint": "var(--stage)" }), n))),
      s.page?.list ? table("slow", "slow requests", slowColumns, s.page.list, { keyOf: (r) => r.node + r.seq, again, none: "No request was slow. The threshold is requests.slow_threshold of the replica servers, and replica.slow_query_threshold of a table." }) : waiting(s),
      s.page?.silent?.length ? el("p.t-bad", { role: "status" }, `No answer from ${s.page.silent.join(", ")}.`) : null],
  },
  jobs: {
    title: "Jobs", calm: true,
    count: (o) => o.jobs.filter((j) => j.status === "running" || j.status === "paused").length,
    draw: (s, _, again) => [el("h1", null, "Jobs"),
      el("p.quiet", null, "Long operations: drains, decommissions, balances, compactions. What the guardian does for single partitions is on the page of the cluster."),
      s.overview.jobs.length ? el("div.nodes", null, s.overview.jobs.map((j) => jobRow(s, j)))
        : el("p.quiet", null, "There has been no job. Nodes are drained on their pages; a balance is started below, or by the metas themselves at function level lively."),
      guardian(s, again)],
  },
  events: {
    title: "Events",
    draw: (s, _, again) => [el("h1", null, "Events"), filterBox(s, again, "events"),
      eventList(s.events.filter((e) => matches(s, e.text, e.kind)).reverse().slice(0, 400), s.filter ? "No event matches." : "Nothing has happened yet.")],
  },
};

const diskColumns = [
  { name: "Disk", value: (d) => d.tag },
  { name: "State", value: (d) => d.status, cell: (d) => tag(d.status === "normal" ? "good" : "bad", d.status) },
  { name: "Used", value: (d) => (d.capacity_mb - d.available_mb) / Math.max(1, d.capacity_mb), cell: (d) => diskBar(d) },
  { name: "Available", num: true, value: (d) => d.available_mb, cell: (d) => `${bytes(d.available_mb * 1048576)} of ${bytes(d.capacity_mb * 1048576)}` },
  { name: "Replicas", num: true, value: (d) => d.replicas },
  { name: "Their size", num: true, value: (d) => d.bytes, cell: (d) => bytes(d.bytes) },
  { name: "Folder", text: true, value: (d) => d.dir, cell: (d) => el("code", null, d.dir) },
];

const diskBar = (d) => bar(d.capacity_mb - d.available_mb, d.capacity_mb, {
  warn: 0.8, full: d.status === "normal" ? 0.93 : 0, label: `${d.tag}: ${d.status}, ${bytes(d.available_mb * 1048576)} available of ${bytes(d.capacity_mb * 1048576)}`,
});

function hot(list, again) {
  if (!list.length) return null;
  return [el("h2", null, "Hot keys"), table("hot-of-table", "hot keys", hotColumns, list, { keyOf: (h) => h.gpid + h.write + h.hash_key, again })];
}
