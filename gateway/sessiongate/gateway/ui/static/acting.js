/** Lets operators end the session in the drawer, or cancel its statement, once they confirm. */

import { nameOf } from "./blocking.js";
import { statementsOf } from "./details.js";
import { find, make, setText, value } from "./dom.js";
import { chainOf } from "./relations.js";
import { addressOf, readSession } from "./session.js";
import { visible } from "./text.js";
import { duration, inLocal } from "./times.js";

const NONE = Object.freeze([]);
// The actions, in the words of the API.
const ACTS = {
  cancel: {
    method: "POST",
    path: (path) => `${path}/cancel`,
    title: "Cancel a statement",
    button: "Cancel the statement",
    chain: "Sessions of the same connection stay as they are:",
    done: (id) => `The statement of session ${id} has been cancelled.`,
    begun: (id) => `The statement of session ${id} was cancelled, but still runs.`,
  },
  terminate: {
    method: "DELETE",
    path: (path) => path,
    title: "End a session",
    button: "End the session",
    chain: "Only this session is ended. These are of the same connection, and may stay:",
    done: (id) => `Session ${id} has been ended.`,
    begun: (id) => `Session ${id} was ended, but is still listed.`,
  },
};

export class Acting {
  #api;
  #store;
  #clock;
  #credentials;
  #section = find("acts");
  #said = find("acted");
  #dialog = find("act");
  #typed = find("act-typed");
  #submit = find("act-submit");
  #id; // of the session in the drawer
  #offered; // to it, once known
  #role; // of the caller, and the credentials that it is for
  #act; // what the dialog is about: its session's id, and what is to be done
  #seen; // the session's document, as the dialog shows it, with its ETag

  constructor({ api, store, clock, credentials }) {
    this.#api = api;
    this.#store = store;
    this.#clock = clock;
    this.#credentials = credentials;
    for (const name of Object.keys(ACTS))
      find(`act-${name}`).addEventListener("click", () => this.#open(name));
    this.#typed.addEventListener("input", () => this.#check());
    this.#dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#isConfirmed) this.#do();
    });
    this.#dialog.addEventListener("close", () => {
      if (!this.#dialog.open) this.#close(); // else it has been opened again since
    });
  }

  /** Offers what may be done to this session, given as its resource object; or to none. */
  async show(data) {
    const { id, attributes = {} } = data ?? {};
    if (id !== this.#id) {
      this.#offered = undefined;
      if (id !== undefined) this.#say("", "good");
    }
    this.#id = id;
    const hasEnded = id === undefined || attributes.ended !== undefined;
    if (hasEnded || attributes.source === undefined) this.#offer(NONE);
    else if (!this.#offered) {
      this.#offered = NONE; // while others are read
      const allowed = await this.#allowed(attributes.source);
      if (id === this.#id) this.#offer(allowed);
    }
  }

  #offer(names) {
    this.#offered = names;
    const focused = document.activeElement;
    for (const name of Object.keys(ACTS)) find(`act-${name}`).hidden = !names.includes(name);
    this.#section.hidden = !names.length;
    // A button that goes away would take the focus along.
    if (this.#section.contains(focused) && (focused.hidden || this.#section.hidden))
      find("drawer-title").focus({ preventScroll: true });
  }

  // The actions that this caller may do to the sessions of a source.
  async #allowed(source) {
    try {
      if (!(await this.#isOperator())) return NONE;
      const { data } = await this.#api.get(`v1/sources/${encodeURIComponent(source)}`);
      return data.attributes.actions ?? NONE;
    } catch {
      return NONE; // the drawer says what cannot be read
    }
  }

  async #isOperator() {
    const { authorization } = this.#credentials;
    if (this.#role?.authorization !== authorization || !this.#role) {
      const { meta } = await this.#api.get("v1/");
      this.#role = { authorization, isOperator: meta?.operator === true };
    }
    return this.#role.isOperator;
  }

  async #open(name) {
    const id = this.#id;
    const act = (this.#act = { id, name, ...ACTS[name] });
    this.#seen = undefined;
    this.#complain("");
    this.#typed.value = "";
    find("act-title").replaceChildren(act.title);
    setText(this.#submit, act.button);
    find("act-id").replaceChildren(value(id));
    for (const part of ["act-who", "act-chain"]) find(part).replaceChildren();
    this.#check();
    this.#dialog.showModal();
    this.#typed.focus();
    try {
      const seen = await this.#read(id);
      if (act === this.#act) this.#show(seen);
    } catch (error) {
      if (act === this.#act) this.#complain(error.message);
    }
  }

  // Without what is included: the ETag is then of this session alone.
  #read(id) {
    return this.#api.read(pathOf(id));
  }

  #show(seen) {
    this.#seen = seen;
    const { data } = seen.document;
    const session = readSession(data, this.#clock.now);
    const [statement] = statementsOf(data);
    const doing = session.since === undefined ? "" : ` for ${age(this.#clock.now, session.since)}`;
    const rows = {
      User: session.user,
      Client: addressOf(session),
      Application: session.application,
      Database: session.database,
      Service: session.service,
      Source: session.source,
      Connected: session.connected === undefined ? undefined : inLocal(session.connected),
      Doing: session.activity && `${session.activity}${doing}`,
      Statement: statement?.text,
    };
    const known = Object.entries(rows).filter(([, text]) => text !== undefined && text !== "");
    find("act-who").replaceChildren(
      ...known.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, value(text))]),
    );
    this.#showChain(this.#store.live.get(session.id) ?? session);
    this.#check();
  }

  #showChain(session) {
    const others = chainOf(this.#store, session).filter(({ id }) => id !== session.id);
    const known = new Set(others.map(({ id }) => id));
    const linked = [...session.downstream, ...session.upstream].filter((id) => !known.has(id));
    const items = [
      ...others.map((one) => make("li", {}, value(`${nameOf(one)} ${placeOf(one)}`))),
      ...linked.map((id) => make("li", {}, value(`#${id}`))),
    ];
    const list = make("ul", {}, ...items);
    find("act-chain").replaceChildren(
      ...(items.length
        ? [make("p", {}, this.#act.chain), list]
        : [make("p", { class: "dim" }, "No other session of the same connection is known.")]),
    );
  }

  get #isConfirmed() {
    return this.#seen !== undefined && this.#typed.value.trim() === this.#act?.id;
  }

  #check() {
    this.#submit.disabled = !this.#isConfirmed;
  }

  async #do() {
    const act = this.#act;
    this.#submit.disabled = true;
    this.#complain("");
    try {
      const etag = await this.#etag(act);
      const status = await this.#api.act(act.method, act.path(pathOf(act.id)), etag);
      if (status === 204) this.#say(act.done(act.id), "good");
      else this.#say(act.begun(act.id), "held");
      if (act === this.#act) this.#dialog.close();
    } catch (error) {
      const hasChanged = error.code === "SESSION_CHANGED";
      const text = hasChanged
        ? "Nothing was done: the session has changed. Close this and look again."
        : error.message;
      if (act !== this.#act) this.#say(`${act.title}, ${act.id}: ${visible(text, 600)}`, "bad");
      else this.#complain(text);
      if (act === this.#act && !hasChanged) this.#check();
    }
  }

  // Returns the ETag to depend on: for a statement, that of now, as long as the same one runs.
  // Otherwise a counter that has grown while the id was typed would be in the way.
  async #etag({ id, name }) {
    const { etag, document } = this.#seen;
    if (name !== "cancel") return etag;
    const now = await this.#read(id);
    return isSameStatement(document.data, now.document.data) ? now.etag : etag;
  }

  #close() {
    this.#act = undefined;
    this.#seen = undefined;
    this.#typed.value = "";
    if (document.activeElement === document.body || this.#section.hidden)
      find("drawer-title").focus({ preventScroll: true });
  }

  #say(text, tone) {
    this.#said.dataset.tone = tone;
    setText(this.#said, text);
    this.#said.hidden = !text;
  }

  #complain(text) {
    const error = find("act-error");
    setText(error, visible(text, 600));
    error.hidden = !text;
  }
}

function pathOf(id) {
  return `v1/sessions/${encodeURIComponent(id)}`;
}

function placeOf({ source, service }) {
  return source === undefined ? `on ${service}` : `at ${source}`;
}

function age(now, since) {
  return duration(Math.max(0, now - since));
}

function isSameStatement({ attributes: before }, { attributes: after }) {
  const [one, other] = [before, after].map(({ user, remote, port, database, activity, queries }) =>
    JSON.stringify([user, remote, port, database, activity, queries?.at(-1)]),
  );
  return before.activity?.since !== undefined && one === other;
}
