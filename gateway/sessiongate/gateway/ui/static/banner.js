/** Says which moment of the past is shown, and what is not known of it. */

import { find, make, number, setText } from "./dom.js";
import { sentencesOf } from "./gaps.js";
import { MOST } from "./past.js";
import { visible } from "./text.js";
import { distance, inLocal } from "./times.js";

const TOO_MANY = `More than ${number(MOST)} sessions were connected: these are the first ones that had connected. Choose a service or a user to see all of theirs.`;

export class Banner {
  #clock;
  #at;
  #element = find("moment");
  #text = find("moment-text");
  #ago = find("moment-ago");
  #notes = find("moment-notes");
  #retry = find("moment-retry");

  /** `retry()` reads the moment again, `leave()` goes back to what is now. */
  constructor(clock, { retry, leave }) {
    this.#clock = clock;
    this.#retry.addEventListener("click", retry);
    find("moment-leave").addEventListener("click", leave);
  }

  /** Says that a moment is being read; none, if what is shown is now. */
  begin(at) {
    this.#at = at;
    this.#element.hidden = at === undefined;
    if (at !== undefined) this.#say(`Reading the sessions of ${inLocal(at)}`, "held", []);
  }

  /** Says that the moment is shown, and which gaps it is in; `isCut` if not all were read. */
  show(gaps, isCut) {
    const notes = [];
    if (isCut) notes.push(make("span", {}, TOO_MANY));
    const sentences = sentencesOf(gaps, false);
    if (sentences.length) notes.push(make("strong", {}, "Not all is known:"), ...sentences);
    this.#say(`Showing ${inLocal(this.#at)}`, "held", notes);
  }

  /** Says why it cannot be shown. */
  fail(reason) {
    this.#say(`Nothing is shown of ${inLocal(this.#at)}`, "bad", [make("span", { text: reason })]);
    this.#retry.hidden = false;
  }

  /** Lets times go on. */
  tick() {
    if (this.#at !== undefined) setText(this.#ago, `, ${distance(this.#at, this.#clock.running)}`);
  }

  #say(text, tone, notes) {
    setText(this.#text, visible(text));
    this.#element.dataset.tone = tone;
    this.#notes.replaceChildren(...notes.flatMap((note) => [note, " "]));
    this.#notes.hidden = !notes.length;
    this.#retry.hidden = true;
    this.tick();
  }
}
