/** Makes elements. Texts are only ever text. */

import { showText } from "./text.js";

/**
 * Returns an element. `properties` are attributes, but for `text`, which may come from anybody;
 * functions, which handle the events they are named for; and `undefined` or `false`, which leave
 * the attribute out.
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (name === "text") showText(element, value);
    else if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== false));
  return element;
}

/** Returns an inline element that isolates a text from the texts around it. */
export function value(text, properties = {}) {
  return make("bdi", { ...properties, text });
}

/** Returns the element with this id. */
export function find(id) {
  return document.getElementById(id);
}

/** Writes a number with separators: 10,000. */
export function number(count) {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Returns a count with its noun: "1 session", "3 sessions". */
export function counted(count, noun) {
  return `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** Sets a text that is the page's own, if it has changed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Briefly colours an element that is new or has changed, if motion is welcome. */
export function flash(element, kind) {
  if (STILL.matches) return;
  const colour = `var(--flash-${kind})`;
  element.animate(
    { backgroundColor: [colour, "transparent"] },
    { duration: 1200, easing: "ease-in" },
  );
}

const STILL = matchMedia("(prefers-reduced-motion: reduce)");
