/** Buttons in a row, each with a count: the views, and the values of a facet. */

import { make, number, setText } from "./dom.js";
import { showText, visible } from "./text.js";

const MOST = 60; // chips in a row
const SETTLED = 5000; // milliseconds after which chips may change places

/** A row of chips whose buttons stay the same elements, and stay in place while they are used. */
export class Chips {
  #element;
  #choose;
  #chips = new Map(); // key to chip
  #order = [];
  #orderedAt = -Infinity;
  #more = make("span", { class: "more" });

  /** `choose(key)` is called when a chip is pressed. */
  constructor(element, choose) {
    this.#element = element;
    this.#choose = choose;
  }

  /**
   * Shows chips, in this order: `{key, label, count, pressed, title}`. `isOther` says that they
   * are others than before. If not, those that stay keep their places for some seconds, so that
   * nobody presses the wrong one.
   */
  show(chips, isOther = false) {
    const shown = chips.slice(0, MOST);
    const isUsed = this.#element.matches(":hover, :focus-within");
    const isDue = performance.now() - this.#orderedAt > SETTLED && !isUsed;
    const sorted = isOther || isDue ? shown : this.#keepOrder(shown);
    if (sorted === shown) this.#orderedAt = performance.now();
    this.#order = sorted.map((chip) => chip.key);
    const keys = new Set(this.#order);
    for (const [key, chip] of this.#chips) {
      if (keys.has(key)) continue;
      chip.button.remove();
      this.#chips.delete(key);
    }
    let next = this.#element.firstElementChild;
    for (const chip of sorted) {
      const { button } = this.#fill(chip);
      if (button === next) next = next.nextElementSibling;
      else this.#element.insertBefore(button, next);
    }
    const hidden = chips.length - shown.length;
    setText(this.#more, hidden ? `and ${number(hidden)} more: search for them` : "");
    if (hidden) this.#element.append(this.#more);
    else this.#more.remove();
  }

  #keepOrder(shown) {
    const places = new Map(this.#order.map((key, place) => [key, place]));
    const place = (chip) => places.get(chip.key) ?? Infinity;
    return [...shown].sort((one, other) => {
      const [left, right] = [place(one), place(other)];
      return left === right ? 0 : left - right;
    });
  }

  #fill({ key, label, count, pressed, title, isMissing }) {
    let chip = this.#chips.get(key);
    if (!chip) {
      const kind = isMissing ? { class: "missing", "data-none": true } : { "data-value": true };
      const text = make("bdi", kind);
      showText(text, label, 60);
      const tally = make("span", { class: "count", "data-count": true });
      const name = title ?? (label.length > 60 ? visible(label, 500) : undefined);
      const attributes = { type: "button", class: "chip", title: name };
      const button = make(
        "button",
        { ...attributes, click: () => this.#choose(key) },
        text,
        " ",
        tally,
      );
      chip = { button, tally };
      this.#chips.set(key, chip);
    }
    setText(chip.tally, number(count));
    const state = String(pressed);
    if (chip.button.getAttribute("aria-pressed") !== state)
      chip.button.setAttribute("aria-pressed", state);
    chip.button.classList.toggle("none", count === 0);
    return chip;
  }
}
