/** Feeds the store from the stream; decides again what to follow when the filters change. */

import { MOST, askable, countOf, isWithin, streamPath } from "./scope.js";
import { isSame, readSession } from "./session.js";
import { SessionStream } from "./stream.js";

const AGAIN = 2000; // milliseconds before the number of sessions is asked for again

export class Feed {
  /** Whether the sessions shown are all that are followed. */
  isComplete = false;

  #api;
  #login;
  #to;
  #stream;
  #followed; // the filters of the stream; undefined if there is none
  #filters = {};
  #deciding;
  #hasSnapshot = false;

  /** `to` are the parts of the page that it feeds. */
  constructor(api, login, to) {
    this.#api = api;
    this.#login = login;
    this.#to = to;
    const retry = () => this.retry();
    addEventListener("online", retry);
    document.addEventListener("visibilitychange", retry);
  }

  /** Follows what is needed to show these filters. */
  choose(filters) {
    const before = this.#filters;
    this.#filters = filters;
    if (this.#followed && isWithin(filters, this.#followed)) return;
    if (this.#deciding && before === filters) return;
    this.restart();
  }

  /** Begins anew. */
  restart() {
    this.#stop();
    this.isComplete = false;
    this.#to.connection.restart();
    this.#deciding = new AbortController();
    this.#decide(this.#deciding.signal);
  }

  /** Tries again now, if the connection is lost. */
  retry() {
    this.#stream?.retry();
    if (!this.#stream && this.#wake) this.#wake();
  }

  #wake;

  #stop() {
    this.#deciding?.abort();
    this.#stream?.stop();
    this.#stream = undefined;
    this.#followed = undefined;
  }

  async #decide(signal) {
    const { connection, overview, chosen } = this.#to;
    while (!signal.aborted) {
      try {
        const filters = askable(this.#filters);
        const total = await countOf(this.#api, {}, signal);
        const matching = total > MOST ? await countOf(this.#api, filters, signal) : total;
        if (signal.aborted) return;
        chosen(matching > MOST);
        if (matching > MOST) {
          connection.live();
          overview.show(total, matching, this.#filters);
          return;
        }
        overview.hide();
        this.#follow(total > MOST ? filters : {});
        return;
      } catch (error) {
        if (signal.aborted) return;
        connection.lose(error instanceof TypeError ? "the gateway cannot be reached" : error.message);
        await new Promise((resolve) => {
          this.#wake = resolve;
          setTimeout(resolve, error.retryAfter ?? AGAIN * (0.5 + Math.random()));
        });
      }
    }
  }

  #follow(filters) {
    this.#followed = filters;
    const { store, clock, connection, health, touched, changed, complete } = this.#to;
    const stream = new SessionStream(this.#api, this.#login, {
      snapshot: () => {
        store.begin();
        this.#hasSnapshot = true;
      },
      upsert: (resource) => {
        const session = readSession(resource, clock.running);
        const isNews = this.#note(store.live.get(session.id), session);
        store.put(session);
        if (store.arriving !== undefined) connection.load(store.arriving);
        else if (isNews) {
          touched(session.id);
          changed();
        }
      },
      remove: (id) => {
        store.remove(id);
        connection.change();
        changed();
      },
      sources: (resources) => {
        health.update(resources, this.#hasSnapshot);
        this.#hasSnapshot = false;
      },
      sync: () => {
        const wasArriving = store.arriving !== undefined;
        store.complete();
        this.isComplete = true;
        connection.live();
        if (wasArriving) complete();
        if (store.live.size > 1.5 * MOST) this.restart();
      },
      heard: () => {},
      lost: (detail) => connection.lose(detail),
    });
    this.#stream = stream;
    stream.follow(streamPath(filters));
  }

  // What only the clock changes is no change.
  #note(before, session) {
    const isNews = !before || !isSame(before, session);
    if (isNews) this.#to.connection.change();
    return true;
  }
}
