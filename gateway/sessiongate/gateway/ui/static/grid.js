/** The table of sessions: only the rows that can be seen are elements. */

import { columnsOf } from "./columns.js";
import { flash, make } from "./dom.js";
import { Row } from "./row.js";

const MARGIN = 6; // rows above and below those that can be seen

export class Grid {
  #element;
  #body;
  #columns = columnsOf(false);
  #head = make("div", { role: "rowgroup", class: "heads" });
  #heads = new Map();
  #current;
  #open;
  #sort;
  #now;
  #listing;
  #rows = new Map(); // id to the row that shows it
  #spare = [];
  #touched = new Set();
  #active; // the id of the row that keys move from, and its place when it was last moved to
  #place = -1;
  #opened; // the id of the session in the drawer
  #height = 28;
  #frame;

  /**
   * `current(session)` returns its newest state, `open(id)` shows one in the drawer, `sort(column)`
   * chooses an order, and `now()` is the time to show ages by.
   */
  constructor(element, { current, open, sort, now }) {
    this.#element = element;
    this.#current = current;
    this.#open = open;
    this.#sort = sort;
    this.#now = now;
    this.#body = make("div", { role: "rowgroup", class: "rows" });
    this.#makeHead();
    element.append(this.#head, this.#body);
    element.addEventListener("scroll", () => this.#schedule(), { passive: true });
    element.addEventListener("keydown", (event) => this.#press(event));
    this.#body.addEventListener("click", (event) => this.#click(event));
    new ResizeObserver(() => this.#resize()).observe(element);
    this.#resize();
  }

  /** Shows a listing, with marks on the sessions whose ids are in `fresh`. */
  show(listing, fresh = []) {
    const anchor = this.#anchor();
    this.#listing = listing;
    this.#element.setAttribute("aria-rowcount", listing.count + 1);
    this.#body.style.height = `${listing.rows.length * this.#height}px`;
    if (anchor) this.#element.scrollTop = anchor.session.index * this.#height + anchor.offset;
    this.#render(true);
    for (const id of fresh) {
      const row = this.#rows.get(id);
      if (row) flash(row.element, "new");
    }
  }

  /** Shows these columns, and nothing in them until there is a listing. */
  useColumns(columns) {
    if (columns === this.#columns) return;
    this.#columns = columns;
    this.#listing = undefined;
    this.#release(new Set());
    this.#spare.length = 0;
    this.#makeHead();
  }

  /** Shows the order in the head. */
  showSort({ column, descending }) {
    for (const [name, head] of this.#heads) {
      const order = descending ? "descending" : "ascending";
      head.setAttribute("aria-sort", name === column ? order : "none");
    }
  }

  /** Marks the session that the drawer shows. */
  showOpened(id) {
    this.#opened = id;
    if (id !== undefined) this.#active = id;
    this.#mark();
  }

  /** Takes over a change of a session before the next listing, if it can be seen. */
  touch(id) {
    if (!this.#rows.has(id)) return;
    this.#touched.add(id);
    this.#schedule();
  }

  /** Whether a session can be seen. */
  shows(session) {
    const top = this.#element.scrollTop;
    const at = session.index * this.#height;
    return this.#rows.has(session.id) && at > top - this.#height && at < top + this.#room();
  }

  /** Lets times go on. */
  tick() {
    const now = this.#now();
    for (const row of this.#rows.values()) row.tick(now);
  }

  /** Goes back to the first row. */
  toTop() {
    this.#element.scrollTop = 0;
  }

  focus() {
    this.#element.focus({ preventScroll: true });
  }

  #makeHead() {
    const row = make("div", { role: "row", class: "row", "aria-rowindex": 1 });
    this.#heads.clear();
    for (const { name, title, numeric } of this.#columns) {
      const button = make("button", { type: "button", click: () => this.#sort(name) }, title);
      const kind = numeric ? "cell numeric" : "cell";
      const attributes = {
        role: "columnheader",
        class: kind,
        "aria-sort": "none",
        "data-column": name,
      };
      const head = make("div", attributes, button);
      this.#heads.set(name, head);
      row.append(head);
    }
    this.#head.replaceChildren(row);
  }

  #resize() {
    const height = parseFloat(getComputedStyle(this.#element).getPropertyValue("--row"));
    if (height && height !== this.#height) {
      this.#element.scrollTop *= height / this.#height;
      this.#height = height;
    }
    if (this.#listing) this.show(this.#listing);
  }

  #schedule() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      this.#render(false);
    });
  }

  #room() {
    return this.#element.clientHeight;
  }

  // The first row that can be seen and stays: it keeps its place on the screen.
  #anchor() {
    const { scrollTop } = this.#element;
    if (!this.#listing || scrollTop < 1) return undefined;
    const first = Math.floor(scrollTop / this.#height);
    const seen = [...this.#rows.values()]
      .map((row) => ({ place: row.placed, session: row.listed }))
      .filter(({ place, session }) => place >= first && session.isListed)
      .sort((one, other) => one.place - other.place);
    const [anchor] = seen;
    return anchor && { session: anchor.session, offset: scrollTop - anchor.place * this.#height };
  }

  #render(isAll) {
    const { rows } = this.#listing ?? { rows: [] };
    const top = this.#element.scrollTop;
    const first = Math.max(0, Math.floor(top / this.#height) - MARGIN);
    const last = Math.min(rows.length, Math.ceil((top + this.#room()) / this.#height) + MARGIN);
    const wanted = rows.slice(first, last);
    this.#release(new Set(wanted.map((session) => session.id)));
    const now = this.#now();
    let before = null;
    for (let place = last - 1; place >= first; place -= 1) {
      const session = wanted[place - first];
      const row = this.#rowOf(session, now, isAll);
      row.place(place, this.#height, session.ordinal + 2);
      if (row.element.parentNode !== this.#body || row.element.nextSibling !== before) {
        this.#body.insertBefore(row.element, before);
      }
      before = row.element;
    }
    this.#touched.clear();
    this.#mark();
  }

  #rowOf(session, now, isAll) {
    let row = this.#rows.get(session.id);
    const isNew = !row;
    if (isNew) {
      row = this.#spare.pop() ?? new Row(this.#columns);
      this.#rows.set(session.id, row);
    }
    row.listed = session;
    if (isNew || isAll || this.#touched.has(session.id)) {
      row.show(session.goneAt === undefined ? this.#current(session) : session, now, !isNew);
    }
    return row;
  }

  #release(wanted) {
    for (const [id, row] of this.#rows) {
      if (wanted.has(id)) continue;
      this.#rows.delete(id);
      row.element.remove();
      if (this.#spare.length < 100) this.#spare.push(row);
    }
  }

  #mark() {
    for (const [id, row] of this.#rows) {
      row.element.classList.toggle("active", id === this.#active);
      row.element.classList.toggle("opened", id === this.#opened);
    }
    const row = this.#rows.get(this.#active);
    if (row) this.#element.setAttribute("aria-activedescendant", row.element.id);
    else this.#element.removeAttribute("aria-activedescendant");
  }

  #click(event) {
    const id = event.target.closest("[data-id]")?.dataset.id;
    // A text that was selected is to be copied.
    if (id === undefined || String(getSelection())) return;
    this.#active = id;
    this.#open(id);
  }

  #press(event) {
    if (event.target !== this.#element || event.ctrlKey || event.metaKey || event.altKey) return;
    const { rows } = this.#listing ?? { rows: [] };
    if (event.key === "Enter" && this.#active !== undefined) this.#open(this.#active);
    else if (event.key in MOVES && rows.length) this.#move(MOVES[event.key], rows);
    else return;
    event.preventDefault();
  }

  #move(move, rows) {
    const page = Math.max(1, Math.floor((this.#room() - this.#covered) / this.#height) - 1);
    const row = this.#rows.get(this.#active);
    const at = row ? row.placed : this.#place;
    const to = Math.min(rows.length - 1, Math.max(0, move(at, page, rows.length)));
    this.#place = to;
    this.#active = rows[to].id;
    const top = to * this.#height;
    const room = this.#room() - this.#covered - this.#height;
    const { scrollTop } = this.#element;
    if (top < scrollTop) this.#element.scrollTop = top;
    else if (top > scrollTop + room) this.#element.scrollTop = top - room;
    this.#render(false);
  }

  // The height of the head, which covers rows.
  get #covered() {
    return this.#element.firstElementChild.offsetHeight;
  }
}

const MOVES = {
  ArrowDown: (at) => at + 1,
  ArrowUp: (at) => at - 1,
  PageDown: (at, page) => at + page,
  PageUp: (at, page) => at - page,
  Home: () => 0,
  End: (at, page, length) => length - 1,
};
