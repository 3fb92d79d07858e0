/** Shows counts instead of sessions, if there are too many to follow: the way to fewer. */

import { Chips } from "./chips.js";
import { labelOf } from "./chooser.js";
import { find, make, number, setText } from "./dom.js";
import { MOST, askable, countsBy } from "./scope.js";
import { FACETS } from "./session.js";
import { timeOfDay } from "./times.js";

const SIZE = 40; // values of a facet
const NONE = new Set();

export class Overview {
  #api;
  #clock;
  #rows = {};

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

  /** Shows the counts of the sessions that match the filters. Throws `ApiError`. */
  async show(total, matching, filters, signal) {
    this.#say(total, matching);
    const asked = askable(filters);
    await Promise.all(
      Object.keys(FACETS).map((facet) => this.#read(facet, asked, filters[facet] ?? NONE, signal)),
    );
    setText(find("overview-time"), `As of ${timeOfDay(this.#clock.running)}`);
  }

  #say(total, matching) {
    const left = matching === total ? "" : ` ${number(matching)} of them match the filters.`;
    const most = `This page follows at most ${number(MOST)}: choose a value to get to fewer.`;
    setText(find("overview-text"), `There are ${number(total)} sessions.${left} ${most}`);
  }

  async #read(facet, filters, chosen, signal) {
    const { counts, total } = await countsBy(this.#api, facet, filters, SIZE, signal);
    const { chips, total: text } = this.#rows[facet];
    setText(
      text,
      total > counts.length ? `${number(total)} values, the largest ${counts.length}` : "",
    );
    const known = counts.filter(({ value }) => value !== undefined);
    chips.show(
      known.map(({ value, count }) => {
        return { key: value, label: labelOf(value), count, pressed: chosen.has(value) };
      }),
    );
  }
}
