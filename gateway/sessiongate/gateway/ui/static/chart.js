/** Draws how many were connected: groups on top of each other, and what is not known hatched. */

import { make } from "./dom.js";
import { stretchesOf } from "./gaps.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [1000, 100]; // of the drawing, which is stretched to its place

export class Chart {
  #drawing = document.createElementNS(SVG, "svg");
  #hatches = make("div", { class: "hatches" });
  #from;
  #to;

  /** It fills this element. */
  constructor(element) {
    this.#drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.#drawing.setAttribute("preserveAspectRatio", "none");
    this.#drawing.setAttribute("aria-hidden", "true");
    element.prepend(this.#drawing, this.#hatches);
  }

  /** Draws counts from one time to another, up to a peak. */
  draw({ times, groups, gaps }, from, to, peak) {
    this.#from = from;
    this.#to = to;
    const below = times.map(() => 0);
    const edges = edgesOf(times, from, to).map((time) => this.share(time) * WIDTH);
    const bands = groups.map(({ counts }, place) => {
      const lower = below.map((count) => heightOf(count, peak));
      counts.forEach((count, at) => (below[at] += count));
      const upper = below.map((count) => heightOf(count, peak));
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("d", pathOf(edges, lower, upper));
      path.setAttribute("class", `band-${place}`);
      return path;
    });
    this.#drawing.replaceChildren(...bands);
    this.#hatches.replaceChildren(
      ...stretchesOf(gaps, from, to).map((stretch) => {
        const hatch = make("div");
        hatch.style.left = `${this.share(stretch.from) * 100}%`;
        hatch.style.width = `${(this.share(stretch.to) - this.share(stretch.from)) * 100}%`;
        return hatch;
      }),
    );
  }

  /** Draws nothing. */
  clear() {
    this.#drawing.replaceChildren();
    this.#hatches.replaceChildren();
  }

  /** Returns where a time is, from 0 at the left to 1 at the right. */
  share(time) {
    return Math.min(1, Math.max(0, (time - this.#from) / (this.#to - this.#from)));
  }
}

// Each moment represents the time up to the middle between it and the next.
function edgesOf(times, from, to) {
  const middles = times.slice(1).map((time, place) => (time + times[place]) / 2);
  return [from, ...middles, to];
}

function heightOf(count, peak) {
  return HEIGHT - (count / peak) * HEIGHT;
}

function pathOf(edges, lower, upper) {
  const up = upper.map(
    (height, at) => `L${point(edges[at], height)}L${point(edges[at + 1], height)}`,
  );
  const down = lower.map(
    (height, at) => `L${point(edges[at + 1], height)}L${point(edges[at], height)}`,
  );
  return `M${point(edges[0], lower[0] ?? HEIGHT)}${up.join("")}${down.reverse().join("")}Z`;
}

function point(x, y) {
  return `${x.toFixed(2)},${y.toFixed(2)}`;
}
