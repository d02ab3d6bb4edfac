// Changes: a question before, the answer of the cluster after. Nothing is changed without a word of confirmation.

import { el, show } from "./dom.js";

let send; // (path, body) => the answer, or an error whose message people can read
let after; // looks again at how things stand

export function onChange(post, again) {
  send = post;
  after = again;
}

// say puts a sentence where it is seen and read out.
let silence;
export function say(text) {
  clearTimeout(silence);
  show(document.getElementById("said"), text);
  silence = setTimeout(() => show(document.getElementById("said")), 10000);
}

// button makes a button that asks and then changes something. q is {title, text, yes, danger, path, body, done}; with why it can
// not be pressed, and why says so.
export const button = (label, q, why) =>
  el("button.act", { type: "button", disabled: !!why, title: why || null, class: q.danger ? "danger" : null, on: { click: () => ask(q) } }, label);

export function ask(q) {
  const dialog = document.getElementById("ask");
  const came = document.activeElement;
  let sending = false, problem = "";
  const draw = () => show(dialog,
    el("h2", { id: "ask-title" }, q.title),
    el("p", { id: "ask-text" }, q.text),
    el("p.problem", { key: "problem", role: "alert" }, problem),
    el("div.acts", null,
      el("button.act", { key: "no", type: "button", "aria-disabled": String(sending), on: { click: () => sending || dialog.close() } }, problem ? "Close" : "Leave it"),
      el("button.act", { key: "yes", type: "button", class: q.danger ? "danger" : "main", "aria-disabled": String(sending), on: { click: go } }, sending ? "Being stored" : problem ? "Try again" : q.yes)));
  async function go() {
    if (sending) return;
    [sending, problem] = [true, ""];
    draw();
    try {
      const answer = await send(q.path, q.body);
      dialog.close();
      say(q.done(answer));
    } catch (e) {
      problem = e.message || String(e);
    }
    sending = false;
    draw();
    await after();
  }
  dialog.oncancel = (e) => {
    if (sending) e.preventDefault();
  };
  dialog.onclose = () => {
    (came.isConnected && !came.disabled ? came : document.getElementById("main")).focus();
  };
  draw();
  dialog.showModal();
  dialog.querySelectorAll("button")[q.danger ? 0 : 1].focus();
}
