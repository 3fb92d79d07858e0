/** One row of the table on the page; it is used for one session after another. */

import { flash, make, setText } from "./dom.js";
import { showText, visible } from "./text.js";

let made = 0;

export class Row {
  /** The session that it shows. */
  session;
  /** The session that the listing has in its place. */
  listed;
  /** Its place in the listing. */
  placed = -1;

  #columns;
  #cells;
  #texts = [];
  #ages = [];
  #top;
  #rowIndex;
  #isGone = false;

  /** It has a cell for each of these columns. */
  constructor(columns) {
    this.#columns = columns;
    this.#cells = columns.map(({ name, numeric, value, tone }) => {
      const kind = numeric ? "cell numeric" : "cell";
      const cell = make("div", { role: "gridcell", class: kind, "data-column": name });
      if (!value) return { cell, text: cell };
      const stated = make("bdi", { class: tone ? "pill" : undefined, "data-value": true });
      const text = make("span", { class: "age" });
      cell.append(stated, text);
      return { cell, text, stated };
    });
    made += 1;
    this.element = make(
      "div",
      { role: "row", class: "row", id: `row-${made}` },
      ...this.#cells.map(({ cell }) => cell),
    );
    this.#ages = columns.map((column, place) => (column.ages ? place : -1)).filter((at) => at >= 0);
  }

  /**
   * Shows a session. Cells of the same session that change are marked if `marks` says so. One that
   * has gone is no row for screen readers.
   */
  show(session, now, marks = false) {
    if (this.session === session && this.#isGone === (session.goneAt !== undefined)) {
      this.tick(now);
      return;
    }
    const isOther = this.session?.id !== session.id;
    this.session = session;
    if (isOther) this.#texts.length = 0;
    this.#identify();
    this.#columns.forEach((column, place) => this.#fill(column, place, now, marks && !isOther));
  }

  /** Lets times go on. */
  tick(now) {
    for (const place of this.#ages) this.#fill(this.#columns[place], place, now, false);
  }

  /** Sets the row's place among the others, of this height; sessions that are gone do not count. */
  place(place, height, rowIndex) {
    const top = place * height;
    this.placed = place;
    if (this.#top !== top) this.element.style.transform = `translateY(${top}px)`;
    if (this.#rowIndex !== rowIndex) this.element.setAttribute("aria-rowindex", rowIndex);
    this.#top = top;
    this.#rowIndex = rowIndex;
  }

  #identify() {
    const { element, session } = this;
    this.#isGone = session.goneAt !== undefined;
    element.classList.toggle("gone", this.#isGone);
    if (this.#isGone) {
      element.setAttribute("aria-hidden", "true");
      delete element.dataset.id;
    } else {
      element.removeAttribute("aria-hidden");
      element.dataset.id = session.id;
    }
  }

  #fill(column, place, now, marks) {
    const { cell, text, stated } = this.#cells[place];
    const shown = column.text(this.session, now) ?? "";
    const value = column.value?.(this.session, now) ?? "";
    const known = this.#texts[place];
    if (known && known.shown === shown && known.value === value) return;
    this.#texts[place] = { shown, value };
    if (column.ages) setText(text, shown);
    else showText(text, shown);
    if (stated && known?.value !== value) {
      showText(stated, value);
      if (column.tone && value) stated.dataset.tone = column.tone(this.session);
    }
    if (column.hint) cell.title = hintOf(column, this.session);
    else if (shown) cell.title = visible(shown, 500);
    else cell.removeAttribute("title");
    if (column.name === "waits") cell.dataset.blocked = this.session.blockedBy.length > 0;
    const hasChanged = column.ages ? known?.value !== value : known?.shown !== shown;
    if (marks && hasChanged) flash(cell, "changed");
  }
}

function hintOf(column, session) {
  return column
    .hint(session)
    .filter(Boolean)
    .map((text) => visible(text))
    .join("\n");
}
