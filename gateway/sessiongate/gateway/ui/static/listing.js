/** Lists the sessions that match, in order, and counts those of each kind. */

import { columnOf, comparison } from "./columns.js";
import { FACETS, searchedText } from "./session.js";
import { VIEWS } from "./views.js";

const NAMES = Object.keys(FACETS);
const SEARCH = 1 << NAMES.length; // the bits of what a session may fail: a facet, the search,
const VIEW = 1 << (NAMES.length + 1); // the view

/**
 * Keeps the sessions that match a query in order. A change costs what changed, and one pass over
 * what is listed.
 *
 * The numbers of a facet's values count the sessions that match all but the filters on this facet,
 * and those of views the sessions that match all but the view: what one would get by another
 * choice there.
 */
export class Listing {
  /** The sessions in order, with some that have just gone. */
  rows = [];
  /** How many sessions match. */
  count = 0;
  /** How many sessions there are in each view, in the order of `VIEWS`. */
  views = VIEWS.map(() => 0);
  /** Value of the grouping facet, undefined if missing, to the number of sessions. */
  groups = new Map();

  #query;
  #view;
  #words = [];
  #key;
  #compare;
  #young = new Set(); // those in a transaction that is not long yet
  #gone = new Map(); // id to a session that has just gone, and is still in its place

  /** Whether it has been said what to list. */
  get hasQuery() {
    return this.#query !== undefined;
  }

  /** Shows other sessions, or in another order. `sessions` are all there are. */
  choose(query, sessions, now) {
    this.#query = query;
    this.#view = VIEWS.findIndex((view) => view.name === query.view);
    this.#words = query.search.toLowerCase().split(/\s+/).filter(Boolean);
    this.#key = columnOf(query.sort.column).key;
    this.#compare = comparison(query.sort.descending);
    this.views.fill(0);
    this.groups.clear();
    this.#young.clear();
    const listed = [];
    for (const session of sessions) {
      session.isListed = false;
      if (this.#add(session, now)) listed.push(session);
    }
    listed.sort(this.#compare);
    this.count = listed.length;
    this.#gone.clear();
    this.#number(listed);
  }

  /**
   * Takes over changes. A session that is gone stays in its place for a moment if `lingers` says
   * so.
   */
  change(changes, now, lingers = () => false) {
    const added = [];
    for (const { old, now: session } of changes) {
      if (old) {
        const { index } = old;
        const stays = !session && old.isListed && lingers(old);
        this.#remove(old);
        if (stays) {
          old.goneAt = now;
          this.#gone.set(old.id, old);
        }
        if (session) session.index = index;
      }
      if (!session) continue;
      this.#forget(session.id);
      if (this.#add(session, now)) added.push(session);
    }
    this.#merge(added);
  }

  /** Takes over what the clock has changed; returns whether anything has. */
  tick(now, lingering) {
    const grown = [...this.#young].filter((session) => viewsOf(session, now) !== session.views);
    const changes = grown.map((session) => ({ old: session, now: session }));
    const over = [...this.#gone.values()].filter((session) => now - session.goneAt >= lingering);
    for (const { id } of over) this.#forget(id);
    if (!changes.length && !over.length) return false;
    this.change(changes, now);
    return true;
  }

  #forget(id) {
    const session = this.#gone.get(id);
    if (!session) return;
    session.goneAt = undefined;
    this.#gone.delete(id);
  }

  #add(session, now) {
    session.key = this.#key(session);
    session.views = viewsOf(session, now);
    session.failed = this.#failed(session);
    this.#tally(session, 1);
    const isYoung = session.transaction !== undefined && !(session.views & LONG);
    if (isYoung) this.#young.add(session);
    session.isListed = session.failed === 0;
    return session.isListed;
  }

  #remove(session) {
    this.#tally(session, -1);
    this.#young.delete(session);
    session.isListed = false;
  }

  #failed(session) {
    let failed = 0;
    const { filters } = this.#query;
    for (let place = 0; place < NAMES.length; place += 1) {
      const values = filters[NAMES[place]];
      if (values && !values.has(session[NAMES[place]])) failed |= 1 << place;
    }
    if (!(session.views & (1 << this.#view))) failed |= VIEW;
    if (this.#words.length) {
      const text = searchedText(session);
      if (!this.#words.every((word) => text.includes(word))) failed |= SEARCH;
    }
    return failed;
  }

  #tally(session, step) {
    if ((session.failed & ~VIEW) === 0) {
      for (let place = 0; place < VIEWS.length; place += 1) {
        if (session.views & (1 << place)) this.views[place] += step;
      }
    }
    const { group } = this.#query;
    if (!group || (session.failed & ~(1 << NAMES.indexOf(group))) !== 0) return;
    const count = (this.groups.get(session[group]) ?? 0) + step;
    if (count) this.groups.set(session[group], count);
    else this.groups.delete(session[group]);
  }

  #merge(added) {
    added.sort(this.#compare);
    const rows = [];
    let next = 0;
    let count = 0;
    const fresh = new Set(added);
    for (const session of this.rows) {
      const stays = session.isListed ? !fresh.has(session) : session.goneAt !== undefined;
      if (!stays) continue;
      while (next < added.length && this.#compare(added[next], session) < 0) {
        rows.push(added[next]);
        next += 1;
      }
      rows.push(session);
      if (session.isListed) count += 1;
    }
    for (; next < added.length; next += 1) rows.push(added[next]);
    this.count = count + added.length;
    this.#number(rows);
  }

  #number(rows) {
    let ordinal = 0;
    for (let index = 0; index < rows.length; index += 1) {
      const session = rows[index];
      session.index = index;
      session.ordinal = ordinal;
      if (session.isListed) ordinal += 1;
    }
    this.rows = rows;
  }
}

const LONG = 1 << VIEWS.findIndex((view) => view.name === "long-transactions");

function viewsOf(session, now) {
  let bits = 0;
  for (let place = 0; place < VIEWS.length; place += 1) {
    if (VIEWS[place].test(session, now)) bits |= 1 << place;
  }
  return bits;
}
