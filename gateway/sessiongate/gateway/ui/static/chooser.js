/** Chooses the sessions that are shown: search, views, groups, and the filters in force. */

import { defaultQuery } from "./address.js";
import { Chips } from "./chips.js";
import { counted, find, make, number, setText, value } from "./dom.js";
import { columnsOf } from "./columns.js";
import { FACETS, facetsOf } from "./session.js";
import { visible } from "./text.js";
import { VIEWS } from "./views.js";

const FEW = 300; // groups
const EACH = 3000; // milliseconds between two times that more of them are sorted
const PATIENCE = 120; // milliseconds after the last key before the search begins

/** Returns what a value is called on a chip: it may be missing, or empty. */
export function labelOf(value) {
  return value === undefined ? "none" : value || "(empty)";
}

export class Chooser {
  #change;
  #query;
  #views;
  #groups;
  #search = find("search");
  #group = find("group");
  #sort = find("sort");
  #filters = find("filters");
  #isPast; // whether what can be chosen is that of the past
  #shownFor; // the query that the groups were last sorted for
  #sortedAt = 0;
  #largest = []; // the groups that were the largest then
  #shownFilters = "";
  #typing; // the timer of a search that has not begun

  /** `change(patch, isTyping)` changes the query. */
  constructor(change) {
    this.#change = change;
    this.#views = new Chips(find("views"), (name) => this.#chooseView(name));
    this.#groups = new Chips(find("groups"), (key) => this.toggle(this.#query.group, key));
    this.#group.addEventListener("change", () => change({ group: this.#group.value }));
    this.#sort.addEventListener("change", () => {
      const text = this.#sort.value;
      change({ sort: { column: text.replace("-", ""), descending: text.startsWith("-") } });
    });
    this.#search.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      if (!this.#search.value) this.#search.blur();
      this.#type("");
    });
    this.#search.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => {
        this.#typing = undefined;
        change({ search: this.#search.value }, true);
      }, PATIENCE);
    });
  }

  /** Shows the query. */
  showQuery(query) {
    this.#query = query;
    this.#offer(query.at !== undefined);
    const isTyping = this.#typing !== undefined;
    if (!isTyping && this.#search.value !== query.search) this.#search.value = query.search;
    this.#group.value = query.group;
    this.#sort.value = `${query.sort.descending ? "-" : ""}${query.sort.column}`;
    this.#showFilters();
  }

  // The choices, for sessions now or in the past.
  #offer(isPast) {
    if (isPast === this.#isPast) return;
    this.#isPast = isPast;
    const facets = Object.entries(facetsOf(isPast));
    this.#group.replaceChildren(
      ...[...facets, ["", "None"]].map(([name, title]) => make("option", { value: name }, title)),
    );
    this.#sort.replaceChildren(
      ...columnsOf(isPast).flatMap(({ name, title }) => [
        make("option", { value: name }, title),
        make("option", { value: `-${name}` }, `${title}, down`),
      ]),
    );
  }

  /**
   * Shows the counts of a listing. `total` is the number of the sessions that were read, if it is
   * known, and `others` says that there are more.
   */
  showCounts(listing, total, others) {
    const query = this.#query;
    const views = VIEWS.map(({ name, title, hint }, place) => {
      const pressed = query.view === name;
      return { key: name, label: title, count: listing.views[place], pressed, title: hint };
    });
    this.#views.show(views, true);
    this.#showGroups(listing, query);
    setText(
      find("matching"),
      total === undefined ? "Reading sessions…" : matchingOf(listing.count, total, others),
    );
  }

  #showGroups(listing, query) {
    const isOther = this.#shownFor !== query;
    // To sort many groups takes long: those that were the largest are shown meanwhile.
    const isDue = listing.groups.size < FEW || performance.now() - this.#sortedAt > EACH;
    if (isOther || isDue) {
      this.#largest = groupsOf(listing, query);
      this.#sortedAt = performance.now();
    } else {
      for (const group of this.#largest) group.count = listing.groups.get(group.key) ?? 0;
    }
    this.#shownFor = query;
    this.#groups.show(this.#largest, isOther);
  }

  focusSearch() {
    this.#search.focus();
    this.#search.select();
  }

  #chooseView(name) {
    const [before, view] = [this.#query.view, name].map((one) =>
      VIEWS.find((each) => each.name === one),
    );
    // An order that came with a view also goes with it.
    const isItsOwn = JSON.stringify(before.sort) === JSON.stringify(this.#query.sort);
    const sort = view.sort ?? (isItsOwn ? defaultQuery().sort : this.#query.sort);
    this.#change({ view: name, sort });
  }

  /** Filters by a value of a facet, or no longer. */
  toggle(facet, key) {
    const values = new Set(this.#query.filters[facet]);
    if (!values.delete(key)) values.add(key);
    const filters = { ...this.#query.filters, [facet]: values };
    if (!values.size) delete filters[facet];
    this.#change({ filters });
  }

  #showFilters() {
    const { view, search, filters } = this.#query;
    const key = JSON.stringify([
      view,
      search,
      Object.entries(filters).map(([name, all]) => [name, [...all].map(String)]),
    ]);
    if (key === this.#shownFilters) return;
    this.#shownFilters = key;
    const buttons = [];
    const add = (title, text, remove) => buttons.push(filterButton(title, text, remove));
    if (view !== "all") {
      add("View", VIEWS.find((one) => one.name === view).title, () => this.#chooseView("all"));
    }
    if (search) {
      add("Search", search, () => this.#type(""));
    }
    for (const [facet, values] of Object.entries(filters)) {
      for (const one of values) add(FACETS[facet], labelOf(one), () => this.toggle(facet, one));
    }
    if (buttons.length) {
      const clear = make(
        "button",
        { type: "button", class: "plain", click: () => this.clear() },
        "Clear filters",
      );
      buttons.push(clear);
    }
    this.#filters.replaceChildren(...buttons);
  }

  // Searches for a text at once.
  #type(text) {
    clearTimeout(this.#typing);
    this.#typing = undefined;
    this.#search.value = text;
    this.#change({ search: text });
  }

  /** Removes all filters. */
  clear() {
    clearTimeout(this.#typing);
    this.#typing = undefined;
    this.#change({ view: "all", search: "", filters: {} });
  }
}

function matchingOf(count, total, others) {
  const text = counted(total, "session") + others;
  return count === total ? text : `${number(count)} of ${text}`;
}

function filterButton(title, text, remove) {
  const label = `Remove filter ${title}: ${visible(text)}`;
  const attributes = {
    type: "button",
    class: "filter",
    "aria-label": label,
    title: label,
    click: remove,
  };
  const cross = make("span", { class: "cross", "aria-hidden": "true" });
  return make("button", attributes, `${title}: `, value(visible(text, 60)), cross);
}

function groupsOf({ groups }, { group, filters }) {
  const chosen = filters[group] ?? new Set();
  const all = [...groups];
  for (const one of chosen) if (!groups.has(one)) all.push([one, 0]);
  all.sort(([left, many], [right, few]) => few - many || compare(left, right));
  return all.map(([key, count]) => ({
    key,
    label: labelOf(key),
    isMissing: !key,
    count,
    pressed: chosen.has(key),
  }));
}

function compare(left, right) {
  if (left === undefined || right === undefined) return left === undefined ? 1 : -1;
  return left < right ? -1 : 1;
}
