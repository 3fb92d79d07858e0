/** Goes to moments of the past and back to what is now: the strip, the banner, and what is read. */

import { Banner } from "./banner.js";
import { find } from "./dom.js";
import { Past } from "./past.js";
import { Strip } from "./strip.js";

const SPAN = "1h"; // of the strip, when it is opened

export class Lookback {
  /** Reads the sessions of the moment that is shown. */
  past;
  /** The moment that is shown; undefined if it is now. */
  at;

  #to;
  #clock;
  #strip;
  #banner;

  /**
   * `to` are the parts of the page that it feeds: `change(patch)` changes the query, `turned(isPast)`
   * is called when the past or what is now takes the place of the other, `complete()` when a moment
   * has been read, and `restarted()` if nothing is known of it.
   */
  constructor(api, to) {
    this.#to = to;
    this.#clock = to.clock;
    this.past = new Past(api, {
      ...to,
      begun: () => this.#begin(),
      complete: (gaps, isCut) => this.#show(gaps, isCut),
      failed: (reason) => this.#fail(reason),
    });
    this.#strip = new Strip(api, to.clock, {
      choose: (at) => to.change({ at }),
      change: to.change,
    });
    const leave = () => this.leave();
    this.#banner = new Banner(to.clock, { retry: () => this.past.retry(), leave });
    find("live").addEventListener("click", leave);
    find("past").addEventListener("click", () => this.open());
  }

  /** Shows what a query says of the past. */
  show(query) {
    const wasPast = this.at !== undefined;
    this.at = query.at;
    const isPast = this.at !== undefined;
    if (isPast !== wasPast) this.#turn(isPast);
    if (isPast) {
      this.#clock.freeze(this.at);
      this.past.show(this.at, query.filters);
    }
    const hadFocus = find("strip").contains(document.activeElement);
    this.#strip.show(query);
    find("live").setAttribute("aria-pressed", !isPast);
    find("past").setAttribute("aria-pressed", isPast);
    find("past").setAttribute("aria-expanded", this.#strip.isOpen);
    if (hadFocus && !this.#strip.isOpen) find("past").focus();
  }

  /** Opens the strip, and moves the focus there. */
  open() {
    if (!this.#strip.isOpen) this.#to.change({ span: SPAN });
    this.#strip.focus();
  }

  /** Opens the strip, or goes back to what is now if it is open. */
  toggle() {
    if (this.#strip.isOpen) this.leave();
    else this.open();
  }

  /** Goes back to what is now. */
  leave() {
    this.#to.change({ at: undefined, span: undefined });
  }

  /** Lets times go on. */
  tick() {
    this.#strip.tick();
    this.#banner.tick();
  }

  #turn(isPast) {
    if (!isPast) {
      this.past.stop();
      this.#clock.thaw();
      this.#banner.begin(undefined);
      document.body.classList.remove("reading");
    }
    document.body.classList.toggle("past", isPast);
    this.#to.turned(isPast);
    this.#to.connection.look(this.at);
    this.#to.store.clear();
    this.#to.restarted();
  }

  #begin() {
    this.#to.connection.look(this.at);
    this.#banner.begin(this.at);
    document.body.classList.add("reading");
  }

  async #show(gaps, isCut) {
    await this.#to.complete();
    if (!this.past.isComplete) return; // another moment is being read
    document.body.classList.remove("reading");
    this.#banner.show(gaps, isCut);
  }

  #fail(reason) {
    document.body.classList.remove("reading");
    this.#to.restarted();
    this.#banner.fail(reason);
  }
}
