/** Follows the sessions: connects, resumes, and says at once when it cannot. */

import { ApiError } from "./api.js";
import { EventParser } from "./events.js";
import { Turn } from "./turns.js";

const SILENCE = 20_000; // milliseconds without a byte after which the connection counts as lost
const FIRST_WAIT = 1000; // milliseconds before connecting again, if the server does not say
const LONGEST_WAIT = 15_000;

export class SessionStream {
  #api;
  #on;
  #stopped = new AbortController();
  #wakeUp = () => {};
  #lastId = "";
  #retry = FIRST_WAIT;
  #failures = 0;

  /**
   * `on` has a function for each event: `snapshot()`, `upsert(resource)`, `remove(id)`,
   * `sources(resources)`, `sync()`, which may return a promise; and `lost(detail)`, as soon as what is held may be old.
   */
  constructor(api, on) {
    this.#api = api;
    this.#on = on;
  }

  /** Follows this path until `stop`. */
  async follow(path) {
    const stopped = this.#stopped;
    while (!stopped.signal.aborted) {
      let wait = 0;
      try {
        await this.#api.loggedIn(() => this.#read(path, stopped.signal));
      } catch (error) {
        if (stopped.signal.aborted) return;
        this.#on.lost(reasonOf(error));
        // An id that the gateway does not take leads nowhere: start over.
        if (error instanceof ApiError && error.status === 400 && this.#lastId) this.#lastId = "";
        wait = error.retryAfter ?? this.#backOff(error);
      }
      await this.#pause(wait);
    }
  }

  stop() {
    this.#stopped.abort();
    this.#wakeUp();
  }

  /** Tries again now, if it waits. */
  retry() {
    this.#wakeUp();
  }

  #backOff(error) {
    const isFirst = this.#failures === 0;
    // The next answer says which credentials would do.
    if (isFirst && error instanceof Ended && error.code.startsWith("CREDENTIALS_")) {
      this.#failures += 1;
      return 0;
    }
    const longest = Math.min(LONGEST_WAIT, this.#retry * 2 ** this.#failures);
    this.#failures += 1;
    return longest * (0.5 + Math.random() / 2);
  }

  #pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.#stopped.signal.aborted) this.#wakeUp();
    });
  }

  async #read(path, stopped) {
    const silence = new Alarm(SILENCE);
    const signal = AbortSignal.any([stopped, silence.signal]);
    const headers = { Accept: "text/event-stream" };
    if (this.#lastId) headers["Last-Event-ID"] = this.#lastId;
    const parser = new EventParser();
    parser.lastId = this.#lastId;
    const turn = new Turn();
    let reader;
    try {
      const response = await this.#api.open(path, { headers, signal });
      reader = response.body.getReader();
      for (;;) {
        silence.set();
        const { done, value } = await reader.read();
        if (done) throw new Error("the connection was cut");
        silence.stop();
        for (const event of parser.push(value)) {
          stopped.throwIfAborted();
          await this.#handle(event);
          if (turn.isOver) await turn.pause();
        }
        this.#lastId = parser.lastId;
        this.#retry = parser.retry ?? this.#retry;
      }
    } finally {
      silence.stop();
      reader?.cancel().catch(() => {});
    }
  }

  #handle({ name, data }) {
    const on = this.#on;
    if (name === "upsert") on.upsert(JSON.parse(data));
    else if (name === "remove") on.remove(JSON.parse(data).id);
    else if (name === "snapshot") on.snapshot();
    else if (name === "sources") on.sources(JSON.parse(data));
    else if (name === "sync") {
      this.#failures = 0;
      return on.sync();
    } else if (name === "lost") on.lost(detailOf(data));
    else if (name === "end") throw new Ended(data);
  }
}

/** The server ended the stream, and says why. */
class Ended extends Error {
  constructor(data) {
    const [first = {}] = JSON.parse(data).errors ?? [];
    super(first.detail ?? "the gateway ended the stream");
    this.code = first.code ?? "";
  }
}

/** Aborts its signal when it has not been stopped or set again within some milliseconds. */
class Alarm {
  #milliseconds;
  #controller = new AbortController();
  #timer;

  constructor(milliseconds) {
    this.#milliseconds = milliseconds;
    this.set();
  }

  get signal() {
    return this.#controller.signal;
  }

  set() {
    clearTimeout(this.#timer);
    const error = new Error(`nothing has arrived for ${this.#milliseconds / 1000} seconds`);
    this.#timer = setTimeout(() => this.#controller.abort(error), this.#milliseconds);
  }

  stop() {
    clearTimeout(this.#timer);
  }
}

function detailOf(data) {
  return JSON.parse(data).errors?.[0]?.detail ?? "the core cannot be followed";
}

function reasonOf(error) {
  // Browsers say no more than "Failed to fetch" or "network error".
  return error instanceof TypeError ? "the gateway cannot be reached" : error.message;
}
