/** Shows one session: all that the API says about it, its path, and who waits for whom around it. */

import { ROOT } from "./api.js";
import { nameOf } from "./blocking.js";
import { attributesOf, curlOf, endOf, statementsOf } from "./details.js";
import { find, make, setText, value } from "./dom.js";
import { activity, showLong, when } from "./parts.js";
import { reasonOf } from "./past.js";
import { chainOf } from "./relations.js";
import { addressOf } from "./session.js";
import { visible } from "./text.js";
import { distance, timeOfDay } from "./times.js";

const EACH = 1000; // milliseconds between two readings of the same session
const INCLUDE = "upstream.upstream,downstream.downstream,services";
const PARTS = ["path", "blocked-by", "blocks", "attributes", "statements"];
const MOST = 100; // sessions listed as blocked or blocking

export class Drawer {
  /** The id of the session that is shown. */
  id;

  #api;
  #store;
  #clock;
  #open;
  #element = find("drawer");
  #title = find("drawer-title");
  #state = find("drawer-state");
  #reading;
  #readAt = -Infinity;
  #opener;
  #timer;
  #session; // as it was last shown
  #endedAt;
  #document;
  #isPast = false;
  #acting;

  /**
   * `open(id)` shows another session, or none; `credentials` are named in the curl line, and
   * `acting` gets the live session.
   */
  constructor({ api, store, clock, credentials, open, acting }) {
    this.#acting = acting;
    this.#api = api;
    this.#store = store;
    this.#clock = clock;
    this.#open = open;
    this.credentials = credentials;
    find("drawer-close").addEventListener("click", () => open(undefined));
    this.#element.addEventListener("click", (event) =>
      this.#copy(event.target.closest("[data-copy]")),
    );
  }

  /** Reads sessions as history has them, or as they are now. */
  use(isPast) {
    const { id } = this;
    this.#isPast = isPast;
    this.show(undefined);
    this.show(id);
  }

  /** Shows this session, or none. */
  show(id) {
    if (id === this.id) return;
    this.id = id;
    this.#reading?.abort();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#document = undefined;
    this.#session = undefined;
    this.#endedAt = undefined;
    for (const part of PARTS) {
      find(part).replaceChildren();
      delete find(part).dataset.text;
    }
    find("statements-section").hidden = true;
    this.#element.hidden = id === undefined;
    this.#acting.show(undefined);
    if (id === undefined) return;
    this.#element.setAttribute("aria-label", `Session ${visible(id)}`);
    this.#title.replaceChildren("Session ", value(id));
    this.#say("Reading…");
    this.#showLinks();
    this.refresh();
    this.#read();
  }

  /** Moves the focus here. */
  focus() {
    const { activeElement } = document;
    if (!this.#element.contains(activeElement)) this.#opener = activeElement;
    this.#title.focus({ preventScroll: true });
  }

  /** Moves the focus back to what opened the drawer, or to `otherwise` if that is gone. */
  leave(otherwise) {
    const opener = this.#opener;
    this.#opener = undefined;
    if (opener?.isConnected && opener !== document.body) opener.focus({ preventScroll: true });
    else otherwise.focus();
  }

  /** Takes over that sessions have changed: `ids` of those that did. */
  change(ids) {
    if (this.id === undefined) return;
    this.refresh();
    if (!ids.has(this.id)) return;
    if (this.#session && !this.#isPast && !this.#store.shown.has(this.id)) this.#end();
    const wait = this.#readAt + EACH - performance.now();
    this.#timer ??= setTimeout(() => this.#read(), Math.max(0, wait));
  }

  /** Shows the relations again, and lets times go on. */
  refresh() {
    if (this.id === undefined) return;
    const session = (this.#session = this.#store.shown.get(this.id) ?? this.#session);
    const now = this.#clock.now;
    this.#fill("path", session ? this.#path(session, now) : []);
    const waiting = [...(this.#store.blocks.get(this.id) ?? [])];
    this.#fill("blocked-by", this.#links(session?.blockedBy ?? [], now));
    this.#fill("blocks", this.#links(waiting, now));
    for (const note of this.#element.querySelectorAll("[data-time]")) {
      setText(note, distance(Number(note.dataset.time), now, this.#word));
    }
  }

  async #read() {
    const { id } = this;
    this.#timer = undefined;
    this.#readAt = performance.now();
    this.#reading?.abort();
    const reading = new AbortController();
    this.#reading = reading;
    try {
      this.#document = await this.#find(id, reading.signal);
      if (reading.signal.aborted) return;
      this.#endedAt = undefined;
      this.#say(endOf(this.#document.data));
      this.#showDocument();
      this.#acting.show(this.#isPast ? undefined : this.#document.data);
    } catch (error) {
      if (reading.signal.aborted) return;
      if (this.#isPast) this.#say(reasonOf(error, `History does not know session ${id}.`));
      else if (error.code !== "SESSION_NOT_FOUND")
        this.#say(`It cannot be read: ${error.message}.`);
      else if (this.#session) this.#end();
      else this.#say(`There is no session ${id} now: it has ended, or never was.`);
    }
  }

  // What an age is called: it is that at the moment that is shown.
  get #word() {
    return this.#isPast ? "before" : "ago";
  }

  async #find(id, signal) {
    const path = pathOf(id, this.#isPast);
    if (this.#isPast) return this.#api.get(path, signal);
    try {
      return await this.#api.get(`${path}?include=${INCLUDE}`, signal);
    } catch (error) {
      if (error.code !== "SESSION_NOT_FOUND" || this.#session) throw error;
      // It may have ended before this page was opened: then history knows it.
      return await this.#api.get(pathOf(id, true), signal).catch(() => Promise.reject(error));
    }
  }

  // A session that ends while it is shown stays as it was.
  #end() {
    this.#acting.show(undefined);
    this.#endedAt ??= this.#clock.running;
    this.#say(
      `This session ended at ${timeOfDay(this.#endedAt)}. What is shown is the last that was known.`,
    );
  }

  #say(text) {
    setText(this.#state, visible(text, 1000));
    this.#state.hidden = !text;
  }

  #showDocument() {
    const { data } = this.#document;
    const now = this.#clock.now;
    const attributes = attributesOf(data);
    const rows = attributes.map(({ name, time }) =>
      make(
        "tr",
        { "data-attribute": name },
        make("th", { scope: "row" }, value(name)),
        make(
          "td",
          { colspan: time === undefined && 2 },
          make("bdi", { class: "value", "data-value": true }),
        ),
        time !== undefined && make("td", { class: "when" }, ...when(time, now, this.#word)),
      ),
    );
    rows.forEach((row, place) => showLong(row.querySelector(".value"), attributes[place].text));
    find("attributes").replaceChildren(...rows);
    const statements = statementsOf(data);
    find("statements-section").hidden = !statements.length;
    find("statements").replaceChildren(
      ...statements.map(({ text, about }) => {
        const code = make("code");
        showLong(code, text);
        return make("li", {}, make("pre", {}, code), make("span", { class: "dim", text: about }));
      }),
    );
  }

  #path(session, now) {
    const chain = chainOf(this.#store, session);
    const [first] = chain;
    const boxes = [
      make(
        "li",
        { class: "box" },
        make("span", { class: "tier" }, "Client"),
        value(addressOf(first) ?? "not known", { class: "what" }),
        make("span", { class: "dim", text: first.application ?? session.application ?? "" }),
      ),
    ];
    for (const one of chain) {
      const here = one === session;
      const place = one.source ?? one.service ?? `session ${one.id}`;
      const link = here
        ? make("strong", { class: "what" }, value(place))
        : make(
            "button",
            { type: "button", class: "link what", click: () => this.#open(one.id) },
            value(place),
          );
      boxes.push(
        make(
          "li",
          { class: here ? "box here" : "box", "data-session": one.id },
          make("span", { class: "tier", text: `#${one.id} ${one.user ?? ""}` }),
          link,
          activity(one, now),
        ),
      );
    }
    const servers = this.#servers(chain.at(-1));
    return servers ? [...boxes, servers] : boxes;
  }

  // The servers that the last session says it is connected to, if they are not read themselves.
  #servers(last) {
    const all = this.#document ? [this.#document.data, ...(this.#document.included ?? [])] : [];
    const found = all.find((one) => one.type === "sessions" && one.id === last.id);
    const names = (found?.attributes?.connections ?? []).map((one) => one.server);
    if (!names.length) return undefined;
    const more = names.length > 1 ? `and ${names.length - 1} more` : "not read";
    return make(
      "li",
      { class: "box" },
      make("span", { class: "tier" }, "Server"),
      value(names[0], { class: "what" }),
      make("span", { class: "dim" }, more),
    );
  }

  #links(ids, now) {
    const shown = ids.slice(0, MOST).map((id) => {
      const one = this.#store.shown.get(id);
      const name = one ? nameOf(one) : `#${id}`;
      const link = make(
        "button",
        { type: "button", class: "link", "data-session": id, click: () => this.#open(id) },
        value(name),
      );
      if (!one) return make("li", {}, link, " which is not among the sessions shown");
      const about = [one.application, one.wait && `waits for ${one.wait}`]
        .filter(Boolean)
        .join(", ");
      return make(
        "li",
        {},
        link,
        make("span", { class: "dim", text: about ? ` ${about} ` : " " }),
        activity(one, now),
      );
    });
    if (ids.length > MOST) shown.push(make("li", {}, `and ${ids.length - MOST} more`));
    return shown.length ? shown : [make("li", { class: "dim" }, "nobody")];
  }

  // Replaces a list's items only if they say something else, so that focus stays.
  #fill(id, items) {
    const list = find(id);
    const text = items.map((item) => item.textContent).join("\n");
    if (list.dataset.text === text) return;
    list.dataset.text = text;
    const focused = [...list.querySelectorAll("button")].indexOf(document.activeElement);
    list.replaceChildren(...items);
    if (focused >= 0) list.querySelectorAll("button")[focused]?.focus();
  }

  #showLinks() {
    const url = new URL(`${pathOf(this.id, this.#isPast)}?pretty=true`, ROOT);
    const line = curlOf(url, this.credentials);
    setText(find("curl"), line);
    find("copy-id").dataset.copy = this.id;
    setText(find("copied"), "");
    find("copy-curl").dataset.copy = line;
  }

  async #copy(button) {
    if (!button) return;
    const text = button.id === "copy-link" ? location.href : button.dataset.copy;
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      setText(find("copied"), `Copied: ${label.replace("Copy ", "")}`);
    } catch {
      // Browsers allow this only to pages that came by TLS, or from this machine.
      setText(find("copied"), text);
      getSelection().selectAllChildren(find("copied"));
    }
  }
}

function pathOf(id, isPast) {
  return `v1/${isPast ? "history/" : ""}sessions/${encodeURIComponent(id)}`;
}
