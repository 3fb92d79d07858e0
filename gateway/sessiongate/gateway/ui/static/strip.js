/** The strip from which a moment of the past is chosen: by pointer, by keys, or by its time. */

import { Chart } from "./chart.js";
import { labelOf } from "./chooser.js";
import { nearest, readCrowd, scopeOf } from "./crowd.js";
import { counted, find, make, number, setText } from "./dom.js";
import { gapsAt, sentencesOf } from "./gaps.js";
import { SPANS, lengthOf, readMoment } from "./moments.js";
import { reasonOf } from "./past.js";
import { visible } from "./text.js";
import { inLocal } from "./times.js";

const DAY = 86_400_000;
const LABELS = 5; // times below the drawing
const FAR = 10; // moments that Page Up and Page Down move by
const OFTEN = 10_000; // milliseconds: the strip of what is live is read no more often
const EXAMPLES = "14:05, 2026-11-27 14:05 or -15m";

export class Strip {
  #api;
  #clock;
  #to;
  #query;
  #element = find("strip");
  #slider = find("slider");
  #chart = new Chart(this.#slider);
  #cursor = find("cursor");
  #chosen = find("chosen");
  #from;
  #until;
  #isCurrent = true; // whether it ends now
  #crowd; // what is drawn
  #time; // where the cursor is
  #reading;

  /** `choose(at)` shows a moment, and `change(patch)` changes the query. */
  constructor(api, clock, to) {
    this.#api = api;
    this.#clock = clock;
    this.#to = to;
    for (const [name, title] of Object.entries(SPANS)) {
      const click = () => to.change({ span: name });
      const text = name.replace(/(\d)(\D)/, "$1 $2");
      const attributes = { type: "button", "aria-label": title, "data-span": name, click };
      find("spans").append(make("button", attributes, text));
    }
    find("by").addEventListener("change", ({ target }) => to.change({ by: target.value }));
    find("earlier").addEventListener("click", () => this.#shift(-1));
    find("later").addEventListener("click", () => this.#shift(1));
    find("strip-retry").addEventListener("click", () => this.#read());
    find("when").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#type(find("when-time"));
    });
    this.#slider.addEventListener("keydown", (event) => this.#press(event));
    this.#slider.addEventListener("pointermove", (event) => this.#point(event));
    this.#slider.addEventListener("pointerleave", () => this.#rest());
    this.#slider.addEventListener("click", (event) => {
      this.#point(event);
      this.#choose();
    });
  }

  get isOpen() {
    return !this.#element.hidden;
  }

  /** Shows the strip of a query, or none. */
  show(query) {
    const before = this.#query;
    this.#query = query;
    const { span, at } = query;
    const wasOpen = this.isOpen;
    this.#element.hidden = span === undefined;
    if (span === undefined) {
      this.#reading?.abort();
      this.#crowd = undefined;
      this.#time = undefined;
      return;
    }
    for (const button of find("spans").children)
      button.setAttribute("aria-pressed", button.dataset.span === span);
    find("by").value = query.by;
    const isElsewhere = at !== before?.at;
    if (isElsewhere && at !== undefined) this.#time = at;
    if (isElsewhere || !wasOpen) this.#refuse("");
    const isOther = !wasOpen || before.span !== span;
    const isReframed = isOther || (isElsewhere && at !== undefined && !this.#isInside(at));
    if (isReframed) this.#frameAround(at);
    if (isReframed || scopeOf(before) !== scopeOf(query)) this.#read();
    else if (isElsewhere) this.#draw();
  }

  /** Moves the focus here. */
  focus() {
    this.#slider.focus();
  }

  /** Lets time go on: while no moment is chosen, the strip ends now. */
  tick() {
    if (!this.isOpen || this.#query.at !== undefined || this.#element.matches(":hover")) return;
    const step = lengthOf(this.#query.span) / 100;
    if (this.#clock.running - this.#until < Math.max(OFTEN, step) || !this.#isCurrent) return;
    if (this.#time === this.#crowd?.times.at(-1)) this.#time = undefined;
    this.#frameAround(undefined);
    this.#read();
  }

  #isInside(time) {
    return time >= this.#from && time <= this.#until;
  }

  // Chooses the time from which to which the strip goes: until now, or around a moment before.
  #frameAround(at) {
    const length = lengthOf(this.#query.span);
    const isRecent = at === undefined || at >= this.#clock.running - length;
    this.#frame(isRecent ? Infinity : at + length / 2);
  }

  #frame(until) {
    const now = Math.floor(this.#clock.running / 1000) * 1000;
    this.#isCurrent = until >= now;
    this.#until = Math.min(now, until);
    this.#from = this.#until - lengthOf(this.#query.span);
  }

  // Moves by half a span.
  #shift(direction) {
    this.#frame(this.#until + (direction * lengthOf(this.#query.span)) / 2);
    this.#read();
  }

  async #read() {
    this.#reading?.abort();
    const reading = new AbortController();
    this.#reading = reading;
    const [from, to] = [this.#from, this.#until];
    this.#element.classList.add("reading");
    try {
      const crowd = await readCrowd(this.#api, this.#query, from, to, reading.signal);
      if (reading.signal.aborted) return;
      this.#crowd = crowd;
      this.#say("");
    } catch (error) {
      if (reading.signal.aborted) return;
      this.#crowd = undefined;
      this.#say(reasonOf(error));
    }
    this.#element.classList.remove("reading");
    this.#draw();
  }

  #say(fault) {
    setText(find("strip-fault-text"), visible(fault, 500));
    find("strip-fault").hidden = !fault;
    this.#slider.hidden = fault !== "";
    find("axis").hidden = fault !== "";
  }

  #draw() {
    const crowd = this.#crowd;
    if (!crowd) {
      this.#chart.clear();
      for (const id of ["legend", "strip-gaps", "readout"]) find(id).replaceChildren();
      return;
    }
    const peak = Math.max(...crowd.totals, 1);
    this.#chart.draw(crowd, this.#from, this.#until, peak);
    setText(find("peak"), number(peak));
    this.#label();
    this.#list(crowd);
    const gaps = sentencesOf(crowd.gaps, true);
    const isKnown = !gaps.length;
    find("strip-gaps").replaceChildren(
      ...(isKnown ? [] : [make("span", { class: "hatched" }), " Not all is known: "]),
      ...gaps.flatMap((gap, place) => (place ? ["; ", gap] : [gap])),
    );
    const { at } = this.#query;
    this.#chosen.hidden = at === undefined || !this.#isInside(at);
    if (at !== undefined) this.#put(this.#chosen, at);
    this.#moveTo(this.#time ?? this.#until);
  }

  #label() {
    const length = this.#until - this.#from;
    const labels = Array.from({ length: LABELS }, (_, place) => {
      const time = inLocal(this.#from + (place * length) / (LABELS - 1));
      return make("span", {}, length > DAY ? time.slice(5, 10) : time.slice(11, 16));
    });
    find("axis").replaceChildren(...labels);
  }

  #list({ groups }) {
    const items = groups.map(({ name, kind }, place) => {
      const label = kind === "other" ? "all others" : labelOf(name);
      const text = make("bdi", { text: label, class: kind === "value" ? "" : "missing" });
      const swatch = make("span", { class: `swatch band-${place}` });
      return make(
        "li",
        { title: visible(label, 500) },
        swatch,
        text,
        make("span", { class: "count" }),
      );
    });
    find("legend").replaceChildren(...items);
  }

  // The pointer leaves: the cursor goes back to the moment that is shown.
  #rest() {
    const { at } = this.#query;
    if (at !== undefined && this.#isInside(at)) this.#moveTo(at);
  }

  // Moves the cursor to the moment that is nearest to a time.
  #moveTo(time) {
    if (!this.#crowd) return;
    const { times, totals, groups, gaps } = this.#crowd;
    const place = nearest(times, time);
    this.#time = times[place];
    this.#put(this.#cursor, this.#time);
    const count = counted(totals[place], "session");
    const unknown = sentencesOf(gapsAt(gaps, this.#time), false);
    const said = `${inLocal(this.#time)}: ${count}`;
    const why = unknown.flatMap((gap, number) => [number ? "; " : ". Not all is known: ", gap]);
    const readout = find("readout");
    readout.replaceChildren(said, ...why);
    readout.title = readout.textContent;
    [...find("legend").children].forEach((item, group) =>
      setText(item.lastElementChild, number(groups[group].counts[place])),
    );
    this.#slider.setAttribute("aria-valuemax", times.length - 1);
    this.#slider.setAttribute("aria-valuenow", place);
    this.#slider.setAttribute("aria-valuetext", readout.textContent);
  }

  #put(mark, time) {
    mark.style.left = `${this.#chart.share(time) * 100}%`;
  }

  #point({ clientX }) {
    const { left, width } = this.#slider.getBoundingClientRect();
    this.#moveTo(this.#from + ((clientX - left) / width) * (this.#until - this.#from));
  }

  #press(event) {
    if (!this.#crowd || event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event;
    if (key === "Enter" || key === " ") this.#choose();
    else if (key in MOVES) this.#step(MOVES[key]);
    else return;
    event.preventDefault();
  }

  #step(move) {
    const { times } = this.#crowd;
    const place = times.indexOf(this.#time);
    const to = move(place, times.length);
    const within = Math.min(times.length - 1, Math.max(0, to));
    if (within === place && to !== place && (to < 0 || !this.#isCurrent)) {
      this.#time += (to - place) * (times[1] - times[0]);
      this.#shift(Math.sign(to - place));
    } else this.#moveTo(times[within]);
  }

  #choose() {
    if (this.#time !== undefined) this.#to.choose(this.#time);
  }

  // Says what is wrong with a time that was typed.
  #refuse(fault) {
    setText(find("when-fault"), fault);
    find("when-fault").hidden = !fault;
    find("when-time").setAttribute("aria-invalid", fault !== "");
  }

  #type(input) {
    const now = this.#clock.running;
    const time = readMoment(input.value, now);
    let fault = "";
    if (time === undefined)
      fault = `“${visible(input.value, 60)}” is no time. Type one such as ${EXAMPLES}.`;
    else if (time > now) fault = `${inLocal(time)} is in the future. Type an earlier time.`;
    this.#refuse(fault);
    if (fault) return;
    input.value = "";
    this.#to.choose(Math.floor(time / 1000) * 1000);
  }
}

const MOVES = {
  ArrowLeft: (at) => at - 1,
  ArrowDown: (at) => at - 1,
  ArrowRight: (at) => at + 1,
  ArrowUp: (at) => at + 1,
  PageDown: (at) => at - FAR,
  PageUp: (at) => at + FAR,
  Home: () => 0,
  End: (at, length) => length - 1,
};
