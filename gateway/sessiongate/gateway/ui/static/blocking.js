/** Says who waits for whom: a sentence for each session that is blocked, the longest wait first. */

import { find, make, number, value } from "./dom.js";
import { originOf, rootsOf } from "./relations.js";
import { duration } from "./times.js";

const MOST = 5; // sentences
const SHORT = 2000; // milliseconds between a state's and a transaction's begin that do not matter
const CALM = 8000; // milliseconds after which the room for sentences that are gone is given up

export class Blocking {
  #panel = find("blocking");
  #sentences = find("blocking-sentences");
  #summary = find("blocking-summary");
  #list = find("blocking-list");
  #more = find("blocking-more");
  #said = new WeakMap(); // by element
  #shown = "";
  #lines = 0;
  #fewerSince;

  /** `open(id)` shows a session, `all()` lists all that are blocked. */
  constructor(open, all) {
    this.#more.addEventListener("click", all);
    this.#panel.addEventListener("click", ({ target }) => {
      const id =
        target.closest("[data-session]")?.dataset.session ??
        target.closest("[data-id]")?.dataset.id;
      if (id !== undefined) open(id);
    });
  }

  /** Shows the blocked sessions of a store, if all are known. */
  show(store, now, isComplete) {
    const blocked = [...store.blocked].map((id) => store.shown.get(id));
    blocked.sort(
      (one, other) => (one.since ?? now) - (other.since ?? now) || one.number - other.number,
    );
    const first = blocked.slice(0, MOST);
    const sentences = first.map((session) => sentenceOf(store, session, now));
    const summary = isComplete
      ? summaryOf(store, blocked)
      : [{ text: "Who is blocked is not known yet." }];
    this.#reserve(sentences.length, now);
    const key = JSON.stringify([sentences, summary, blocked.length]);
    if (key === this.#shown) return;
    this.#shown = key;
    this.#panel.classList.toggle("calm", blocked.length === 0);
    this.#sentences.hidden = blocked.length === 0;
    this.#fill(this.#summary, summary);
    this.#update(first, sentences);
    const more = blocked.length - first.length;
    this.#more.hidden = more <= 0;
    this.#more.textContent = `and ${number(more)} more`;
  }

  // Grows at once, and shrinks only when nothing has needed the room for some time: what is below
  // does not jump.
  #reserve(lines, now) {
    if (lines >= this.#lines) this.#fewerSince = undefined;
    else this.#fewerSince ??= now;
    const isOver = this.#fewerSince !== undefined && now - this.#fewerSince > CALM;
    if (lines > this.#lines || isOver) {
      this.#lines = lines;
      this.#fewerSince = undefined;
      this.#panel.style.setProperty("--lines", lines);
    }
  }

  #update(sessions, sentences) {
    const items = [...this.#list.children];
    sentences.forEach((sentence, place) => {
      const item = items[place] ?? this.#list.appendChild(make("li"));
      item.dataset.id = sessions[place].id;
      this.#fill(item, sentence);
    });
    for (const item of items.slice(sentences.length)) item.remove();
  }

  // Replaces what an element says, if that has changed. The focus keeps its place in it.
  #fill(element, parts) {
    const text = JSON.stringify(parts);
    if (this.#said.get(element) === text) return;
    this.#said.set(element, text);
    const focused = [...element.querySelectorAll("button")].indexOf(document.activeElement);
    element.replaceChildren(...parts.map((part) => this.#part(part)));
    if (focused >= 0) element.querySelectorAll("button")[focused]?.focus();
  }

  #part({ text, id, strong }) {
    if (id !== undefined) {
      const attributes = { type: "button", class: "link", "data-session": id };
      return make("button", attributes, value(text));
    }
    return strong ? make("strong", { text }) : make("span", { text });
  }
}

/** Returns who a session is, in a few words: its user, and its id. */
export function nameOf(session, origin) {
  const who = origin?.user ?? session.user ?? origin?.client ?? session.remote ?? "session";
  return `${who} #${session.id}`;
}

function sentenceOf(store, session, now) {
  const origin = originOf(store, session);
  const [id, ...others] = session.blockedBy;
  const blocker = store.shown.get(id);
  const itsOrigin = blocker && originOf(store, blocker);
  const [path, itsPath] = [origin, itsOrigin].map((one) => one && pathOf(one.chain));
  const isShared = path === itsPath;
  const parts = [{ text: nameOf(session, origin), id: session.id }];
  parts.push(inBrackets([...whoOf(origin), blocker && !isShared && path]));
  parts.push({ text: " has waited " });
  if (session.since === undefined) parts.push({ text: "for an unknown time" });
  else parts.push({ text: duration(now - session.since), strong: true });
  if (session.wait !== undefined) parts.push({ text: ` for ${session.wait}` });
  parts.push({ text: ", held by " });
  if (blocker) {
    parts.push({ text: nameOf(blocker, itsOrigin), id });
    const via = !isShared && itsPath;
    const { application, client } = itsOrigin;
    parts.push(
      inBrackets([application, client && `from ${client}`, ...doingOf(blocker, now), via]),
    );
  } else parts.push({ text: `#${id}`, id });
  if (others.length)
    parts.push({ text: others.length > 1 ? ` and ${others.length} others` : " and another" });
  if (isShared && path) parts.push({ text: `, both ${path}` });
  else if (!blocker && path) parts.push({ text: `, ${path}` });
  return parts.filter((part) => part.text);
}

function inBrackets(texts) {
  const known = texts.filter(Boolean);
  return { text: known.length ? ` (${known.join(", ")})` : "" };
}

function whoOf({ application, database, client }) {
  return [application, database && `on ${database}`, client && `from ${client}`];
}

function doingOf({ activity, since, transaction }, now) {
  const doing = activity && activity + (since === undefined ? "" : ` for ${duration(now - since)}`);
  const isAsLong = Math.abs(transaction - since) < SHORT;
  const open =
    transaction !== undefined && !isAsLong && `transaction open for ${duration(now - transaction)}`;
  return [doing, open];
}

function pathOf(chain) {
  const tiers = chain.map((one) => one.source ?? one.service).filter((tier) => tier !== undefined);
  if (!tiers.length) return "";
  return tiers.length === 1 ? `at ${tiers[0]}` : `through ${tiers.join(" → ")}`;
}

function summaryOf(store, blocked) {
  if (!blocked.length) return [{ text: "Nobody is known to be blocked." }];
  const behind = new Map();
  for (const session of blocked) {
    for (const id of rootsOf(store, session)) behind.set(id, (behind.get(id) ?? 0) + 1);
  }
  const roots = [...behind].sort(([, many], [, few]) => few - many);
  const count =
    blocked.length === 1
      ? "1 session is blocked"
      : `${number(blocked.length)} sessions are blocked`;
  const parts = [{ text: count, strong: true }];
  if (!roots.length) return [...parts, { text: " by each other" }];
  parts.push({ text: ", behind " });
  roots.slice(0, 3).forEach(([id, many], place) => {
    if (place) parts.push({ text: ", " });
    const root = store.shown.get(id);
    parts.push({ text: root ? nameOf(root, originOf(store, root)) : `#${id}`, id });
    if (many > 1) parts.push({ text: ` (${number(many)})` });
  });
  if (roots.length > 3) parts.push({ text: ` and ${number(roots.length - 3)} others` });
  return parts;
}
