// Just enough to show data that changes: el makes elements, patch brings a tree on the page up to another one and leaves alone
// what is the same, so that focus, scroll positions and selections survive an update.

const SVG = "http://www.w3.org/2000/svg";

// el("td.num", {title: "x", key: 1}, child, ...): children are nodes, strings, numbers, lists, or null for nothing.
// Attributes that begin with "--" are custom properties of the style; "on" is a map of listeners.
export function el(what, attributes, ...children) {
  const [tag, ...classes] = what.split(".");
  const svg = tag === "svg" || tag === "path";
  const e = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  if (classes.length) e.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value == null || value === false) continue;
    if (name === "on") {
      e.handlers = value;
      for (const type of Object.keys(value)) e.addEventListener(type, call);
    } else if (name.startsWith("--")) e.style.setProperty(name, value);
    else if (name === "key") e.key = String(value);
    else if (name === "class") e.setAttribute("class", [...classes, value].join(" ").trim());
    else e.setAttribute(name, value === true ? "" : value);
  }
  e.append(...children.flat(Infinity).filter((c) => c != null && c !== false && c !== "").map((c) => (c instanceof Node ? c : String(c))));
  return e;
}

// Listeners are found by the element, so that a patch can exchange them.
function call(event) {
  this.handlers?.[event.type]?.call(this, event);
}

// show makes the children of parent those of the list.
export function show(parent, ...list) {
  const wanted = el("div", null, ...list);
  patchChildren(parent, wanted);
}

function patch(old, now) {
  if (old.nodeType !== now.nodeType || old.nodeName !== now.nodeName || old.key !== now.key) {
    old.replaceWith(now);
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== now.data) old.data = now.data;
    return;
  }
  // What the reader has opened stays open.
  for (const { name } of [...old.attributes]) if (name !== "style" && name !== "open" && !now.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of now.attributes) if (name !== "style" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const name of [...old.style]) if (!now.style.getPropertyValue(name)) old.style.removeProperty(name);
  for (const name of now.style) {
    const value = now.style.getPropertyValue(name);
    if (old.style.getPropertyValue(name) !== value) old.style.setProperty(name, value);
  }
  if (now.handlers) {
    for (const type of Object.keys(now.handlers)) if (!old.handlers?.[type]) old.addEventListener(type, call);
    old.handlers = now.handlers;
  }
  patchChildren(old, now);
}

// patchChildren keeps children with a key together with theirs, wherever they have moved.
function patchChildren(parent, wanted) {
  const byKey = new Map();
  for (const c of parent.childNodes) if (c.key != null) byKey.set(c.key, c);
  let at = parent.firstChild;
  for (const now of [...wanted.childNodes]) {
    if (now.key != null) {
      const same = byKey.get(now.key);
      if (same && same !== at) parent.insertBefore(same, at);
      if (same) at = same;
      else {
        parent.insertBefore(now, at);
        continue;
      }
    } else if (at && at.key != null) {
      parent.insertBefore(now, at);
      continue;
    }
    if (!at) {
      parent.append(now);
      continue;
    }
    const next = at.nextSibling;
    patch(at, now);
    at = next;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}
