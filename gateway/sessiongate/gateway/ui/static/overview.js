/** Shows counts instead of sessions, if there are too many to follow: the way to fewer. */

import { Chips } from "./chips.js";
import { labelOf } from "./chooser.js";
import { find, make, number, setText } from "./dom.js";
import { MOST, askable, countsBy } from "./scope.js";
import { FACETS } from "./session.js";
import { visible } from "./text.js";
import { timeOfDay } from "./times.js";

const EACH = 10_000; // milliseconds between two readings
const SIZE = 40; // values of a facet

export class Overview {
  #api;
  #clock;
  #element = find("overview");
  #rows = {};
  #reading;
  #timer;
  #shown = {};

  /** `choose(facet, value)` filters by a value. */
  constructor(api, clock, choose) {
    this.#api = api;
    this.#clock = clock;
    for (const [facet, title] of Object.entries(FACETS)) {
      const chips = make("div", { role: "group", "aria-label": title, class: "chips" });
      const total = make("span", { class: "dim" });
      this.#rows[facet] = { chips: new Chips(chips, (value) => choose(facet, value)), total };
      find("overview-counts").append(make("section", {}, make("h3", {}, title, " ", total), chips));
    }
  }

  /** Shows the counts of the sessions that match the filters, again and again until `hide`. */
  show(total, matching, filters) {
    this.hide();
    this.#element.hidden = false;
    const reading = new AbortController();
    this.#reading = reading;
    this.#shown = filters;
    this.#say(total, matching);
    this.#read(reading.signal);
  }

  hide() {
    this.#reading?.abort();
    clearTimeout(this.#timer);
    this.#element.hidden = true;
  }

  #say(total, matching) {
    const left = matching === total ? "" : ` ${number(matching)} of them match the filters.`;
    const text = `There are ${number(total)} sessions.${left} This page follows at most ${number(MOST)}: choose a value to get to fewer.`;
    setText(find("overview-text"), text);
  }

  async #read(signal) {
    const filters = askable(this.#shown);
    try {
      await Promise.all(Object.keys(FACETS).map((facet) => this.#readFacet(facet, filters, signal)));
      setText(find("overview-time"), `As of ${timeOfDay(this.#clock.running)}`);
    } catch (error) {
      if (signal.aborted) return;
      setText(find("overview-time"), `The counts cannot be read: ${visible(error.message)}`);
    }
    if (!signal.aborted) this.#timer = setTimeout(() => this.#read(signal), EACH);
  }

  async #readFacet(facet, filters, signal) {
    const { counts, total } = await countsBy(this.#api, facet, filters, SIZE, signal);
    if (signal.aborted) return;
    const { chips, total: text } = this.#rows[facet];
    const chosen = this.#shown[facet] ?? new Set();
    setText(text, total > counts.length ? `${number(total)} values, the largest ${counts.length}` : "");
    const known = counts.filter(({ value }) => value !== undefined);
    chips.show(known.map(({ value, count }) => ({ key: value, label: labelOf(value), count, pressed: chosen.has(value) })));
  }
}
