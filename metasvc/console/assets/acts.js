// What operators do to jobs, nodes and the cluster. Nobody is offered what the cluster would refuse.

import { button } from "./ask.js";
import { el } from "./dom.js";

export const active = (j) => j.status === "running" || j.status === "paused";
export const jobName = (j) => `job ${j.id} (${[j.kind, j.node || j.table].filter(Boolean).join(" ")})`;

export function jobActs(s, j) {
  if (!s.overview.changes || !active(j)) return null;
  const act = (action, done) => ({ path: "/api/v1/job/control", body: { id: j.id, action }, done: () => `J${jobName(j).slice(1)} ${done}.` });
  const rest = j.status === "running"
    ? { title: `Pause ${jobName(j)}?`, text: "Nothing new is begun until it is resumed. What is under way ends.", yes: "Pause", ...act("pause", "is paused") }
    : { title: `Resume ${jobName(j)}?`, text: "It goes on where it stopped.", yes: "Resume", ...act("resume", "goes on") };
  const back = j.node ? " The node takes replicas again." : "";
  return el("div.acts", { key: "acts" }, button(rest.yes, rest),
    button("Cancel", { title: `Cancel ${jobName(j)}?`, text: `It ends for good. What was moved stays where it is.${back}`, yes: "Cancel the job", danger: true, ...act("cancel", "is canceled") }));
}

const startJob = (body, done) => ({ path: "/api/v1/job/start", body, done: (a) => `Job ${a.job.id} has begun: ${done}.` });

export function nodeActs(s, n) {
  if (!s.overview.changes) return null;
  const mode = n.mode, busy = s.overview.jobs.find((j) => active(j) && j.node === n.address);
  const why = mode !== "in service" ? `the node is ${mode}` : busy ? `job ${busy.id} is at it` : "";
  return el("div.acts", { key: "acts" },
    button("Drain", { title: `Drain ${n.address}?`, text: "It hands over its primaries and leaves its groups where enough members remain; nothing is copied. Do this before it is restarted. It serves again when it has restarted, or when it is returned.",
      yes: "Drain", ...startJob({ kind: "drain", node: n.address }, n.address + " is drained") }, why || (n.alive ? "" : "the node is dead")),
    button("Return to service", { title: `Return ${n.address} to service?`, text: "It takes replicas again. A job that empties it is canceled.",
      yes: "Return", path: "/api/v1/node/return", body: { node: n.address }, done: () => `${n.address} is in service again.` }, mode === "in service" ? "the node is in service" : ""),
    button("Decommission", { title: `Decommission ${n.address}?`, text: "Everything that it has is copied to other nodes, which takes as long as it takes. Do this before it goes for ever.",
      yes: "Decommission", danger: true, ...startJob({ kind: "decommission", node: n.address }, n.address + " is emptied") }, why));
}

export function balanceAct(s, name) {
  if (!s.overview.changes) return null;
  const busy = s.overview.jobs.find((j) => active(j) && j.kind === "balance");
  const what = name ? `table ${name}` : "all tables";
  return button(name ? "Balance" : "Balance all tables", { title: `Balance ${what}?`, text: "Primaries and replicas are moved until the nodes carry equal shares. Clients notice a moment at each hand-over.",
    yes: "Balance", ...startJob({ kind: "balance", table: name ?? "" }, `${what} ${name ? "is" : "are"} evened out`) },
  busy ? `job ${busy.id} is a balance already` : "");
}

const levels = {
  freezed: "What nodes do is recorded; nothing is replaced, created or moved.",
  steady: "Dead members are replaced; nothing is moved to even out shares.",
  lively: "Dead members are replaced, and shares are evened out unasked.",
};

// guardian says how much meta does by itself, and lets operators say how much it shall.
export function guardian(s, again) {
  const o = s.overview, chosen = s.level ?? (o.wanted_level in levels ? o.wanted_level : "steady");
  return [el("h2", null, "What the metas do by themselves"),
    el("p", null, `Function level ${o.wanted_level}. `, levels[o.wanted_level] ?? "Nothing is done.",
      o.level !== o.wanted_level ? el("strong.t-bad", null, ` At present it is ${o.level}: too few nodes live.`) : null),
    o.changes ? el("div.acts", { key: "acts" },
      el("label", null, "Function level ", el("select", { key: "level", on: { change(e) {
        s.level = e.target.value;
        again();
      } } }, Object.keys(levels).map((l) => el("option", { value: l, selected: l === chosen }, l)))),
      button("Set", { title: `Set the function level to ${chosen}?`, text: levels[chosen] + " This holds for the whole group until it is set again.", yes: "Set",
        danger: chosen === "freezed", path: "/api/v1/level", body: { level: chosen }, done: () => `The function level is ${chosen}.` }, chosen === o.wanted_level ? "it is so already" : ""),
      balanceAct(s)) : el("p.quiet", null, "This console only shows. To pause jobs, drain nodes and so on use the shell, or set console.changes of the metas.")];
}
