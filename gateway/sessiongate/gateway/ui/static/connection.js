/** Says how fresh the page is: in the header always, and loudly once it is not. */

import { find, make, number, setText } from "./dom.js";
import { visible } from "./text.js";
import { duration, inLocal, timeOfDay } from "./times.js";

export class Connection {
  /** Whether what is shown may be old. */
  isLost = false;

  #clock;
  #status = find("connection");
  #detail = find("freshness");
  #banner = find("lost");
  #lostAt;
  #changedAt;
  #pausedAt;
  #isReady = false;
  #isCounting = false;
  #arrived = 0;
  #lookedAt; // a moment of the past

  /** `retry()` tries to connect again now. */
  constructor(clock, retry) {
    this.#clock = clock;
    find("retry").addEventListener("click", retry);
  }

  /** Says that sessions are arriving, and how many there are so far. */
  load(arrived) {
    this.#arrived = arrived;
    this.tick();
  }

  /** Says that what is held is current. */
  live() {
    this.#isReady = true;
    this.#isCounting = false;
    this.#lostAt = undefined;
    this.isLost = false;
    this.#banner.hidden = true;
    this.#banner.firstElementChild.replaceChildren();
    document.body.classList.remove("old");
    this.#changedAt ??= this.#clock.running;
    this.tick();
  }

  /** Says that only counts are shown, which are read from time to time. */
  count() {
    this.live();
    this.#isCounting = true;
    this.tick();
  }

  /** Says that something has changed. */
  change() {
    this.#changedAt = this.#clock.running;
  }

  /** Says at once that what is shown may be old, and why. */
  lose(detail) {
    this.isLost = true;
    this.#lostAt ??= this.#clock.running;
    const title = this.#isReady ? "Connection lost" : "Not connected";
    const what = this.#isReady ? "What is shown is old." : "No sessions have been read yet.";
    const text = ` at ${timeOfDay(this.#lostAt)}: ${visible(detail)}. ${what} Trying again…`;
    const alert = this.#banner.firstElementChild;
    if (alert.textContent !== title + text) alert.replaceChildren(make("strong", {}, title), text);
    this.#banner.hidden = false;
    document.body.classList.toggle("old", this.#isReady);
    this.tick();
  }

  /** Says that nothing is known any more: another stream begins. */
  restart() {
    this.#isReady = false;
    this.#arrived = 0;
    this.#changedAt = undefined;
    this.tick();
  }

  /** Says that a moment of the past is shown, or what is now if there is none. */
  look(at) {
    this.#lookedAt = at;
    this.live();
    this.restart();
  }

  pause(isPaused) {
    this.#pausedAt = isPaused ? this.#clock.running : undefined;
    this.tick();
  }

  /** Lets times go on. */
  tick() {
    const now = this.#clock.running;
    const [state, tone, detail] = this.#words(now);
    setText(this.#status, state);
    this.#status.dataset.tone = tone;
    setText(this.#detail, detail);
    if (this.#lostAt !== undefined)
      setText(find("lost-since"), `${duration(now - this.#lostAt)} ago`);
  }

  #words(now) {
    if (this.isLost) return ["Lost", "bad", `${duration(now - this.#lostAt)} ago`];
    if (this.#pausedAt !== undefined) return ["Paused", "held", `at ${timeOfDay(this.#pausedAt)}`];
    if (!this.#isReady)
      return ["Loading", "new", this.#arrived ? `${number(this.#arrived)} sessions so far` : ""];
    if (this.#isCounting) return ["Counts only", "calm", "read again every 10 seconds"];
    if (this.#lookedAt !== undefined) return ["Past", "held", inLocal(this.#lookedAt)];
    return ["Live", "good", `last change ${duration(now - this.#changedAt)} ago`];
  }
}
