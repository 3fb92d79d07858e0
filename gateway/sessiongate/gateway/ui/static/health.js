/** Says how well the sources are read, and what is therefore not known. */

import { counted, find, make, setText, value } from "./dom.js";
import { visible } from "./text.js";
import { duration, inLocal, inUtc, parseTime } from "./times.js";

export class Health {
  /** The states of the sources by name, as the stream has them. */
  states = new Map();

  /** Whether a stream has these states. */
  isFollowed = true;

  #api;
  #clock;
  #button = find("sources");
  #dialog = find("sources-dialog");
  #banner = find("unreachable");
  #details = new Map(); // name to attributes, as last read
  #asked;

  constructor(api, clock) {
    this.#api = api;
    this.#clock = clock;
    this.#button.addEventListener("click", () => {
      this.#dialog.showModal();
      this.#show();
      this.read(!this.isFollowed);
    });
  }

  /** The names of the sources that cannot be read, or not completely. */
  get troubled() {
    return [...this.states]
      .filter(([, one]) => one.state !== "reachable" || one.partial)
      .map(([name]) => name);
  }

  /** Takes over what the stream says; `isAll` says that there are no others. */
  update(resources, isAll) {
    if (isAll) this.states.clear();
    for (const { id, attributes } of resources) {
      if (attributes.state === "removed") this.states.delete(id);
      else this.states.set(id, attributes);
    }
    this.#show();
    if (this.troubled.length || this.#dialog.open) this.read();
  }

  /** Reads what else is known about the sources; `isAlone` says that no stream has their states. */
  async read(isAlone = false) {
    if (this.#asked) return;
    this.#asked = true;
    try {
      const { data } = await this.#api.get("v1/sources");
      this.#details = new Map(data.map(({ id, attributes }) => [id, attributes]));
      if (isAlone) this.states = new Map(this.#details);
      setText(find("sources-error"), "");
    } catch (error) {
      setText(find("sources-error"), `The details cannot be read: ${visible(error.message)}`);
    } finally {
      this.#asked = false;
    }
    this.#show();
  }

  /** Lets times go on. */
  tick() {
    if (this.troubled.length || this.#dialog.open) this.#show();
  }

  #show() {
    const bad = this.troubled.length;
    const count = this.states.size;
    setText(this.#button, `Sources: ${count}${bad ? `, ${bad} not well` : ""}`);
    this.#button.dataset.tone = bad ? "bad" : "good";
    this.#showBanner();
    if (this.#dialog.open) this.#showTable();
  }

  #showBanner() {
    const lines = [];
    for (const [name, { state, partial }] of this.states) {
      const said = this.#sentence(name, state, partial);
      if (said) lines.push(make("p", {}, value(name), said));
    }
    this.#banner.hidden = !lines.length;
    const text = lines.map((line) => line.textContent).join("\n");
    if (this.#banner.dataset.text === text) return;
    this.#banner.dataset.text = text;
    const more = lines.length - 3;
    this.#banner.replaceChildren(...lines.slice(0, 3));
    if (more > 0) this.#banner.append(make("p", {}, `and ${counted(more, "more source")}`));
  }

  #sentence(name, state, partial) {
    const details = this.#details.get(name) ?? {};
    if (state === "pending") return " has not been read yet: its sessions are missing.";
    if (state !== "reachable") {
      const since = parseTime(details.last_success);
      const when =
        since === undefined
          ? ""
          : ` since ${inLocal(since).slice(11, 19)} (${duration(this.#clock.now - since)})`;
      const why = details.last_error ? ` ${visible(details.last_error)}` : "";
      return ` cannot be read${when}: its sessions may be missing or old.${why}`;
    }
    return partial
      ? ` is read only in part: some of its sessions may be missing or old. ${visible(partial)}`
      : "";
  }

  #showTable() {
    const rows = [...this.states].map(([name, { state, partial }]) => {
      const details = this.#details.get(name) ?? {};
      const read = parseTime(details.last_success);
      const cells = [
        make("th", { scope: "row" }, value(name)),
        make("td", { text: details.kind ?? "" }),
        make(
          "td",
          {},
          make(
            "span",
            { class: "pill", "data-tone": state === "reachable" ? "good" : "bad" },
            state,
          ),
        ),
        make(
          "td",
          { class: "numeric" },
          details.sessions === undefined ? "" : String(details.sessions),
        ),
        make(
          "td",
          { title: read === undefined ? undefined : `${inLocal(read)}\n${inUtc(read)}` },
          read === undefined ? "never" : `${duration(this.#clock.now - read)} ago`,
        ),
        make("td", {}, this.#unknown(name, state, partial, details)),
      ];
      return make("tr", {}, ...cells);
    });
    const body = this.#dialog.querySelector("tbody");
    const text = rows.map((row) => row.textContent).join("\n");
    if (body.dataset.text === text) return;
    body.dataset.text = text;
    body.replaceChildren(...rows);
  }

  #unknown(name, state, partial, { unreadable, truncated, shard, core }) {
    const said = [this.#sentence(name, state, partial).trim()];
    if (unreadable?.sessions)
      said.push(`${counted(unreadable.sessions, "session")} cannot be read.`);
    if (unreadable?.members) said.push(`${counted(unreadable.members, "value")} cannot be read.`);
    if (unreadable?.example) said.push(`For example: ${visible(unreadable.example)}`);
    if (truncated) said.push(`${counted(truncated, "session")} had to be cut.`);
    const known = said.filter(Boolean).join(" ") || "Everything that it reports is known.";
    return shard ? `${known} ${readBy(shard, core)}` : known;
  }
}

/** Says which core of a fleet reads a source. */
function readBy(shard, core) {
  return `${core || "No core"} reads it for the shard ${shard}.`;
}
