/** Feeds the store from the stream; decides again what to follow when the filters change. */

import { number } from "./dom.js";
import { MOST, askable, countOf, isWithin, streamPath } from "./scope.js";
import { isSame, readSession } from "./session.js";
import { SessionStream } from "./stream.js";

const AGAIN = 2000; // milliseconds after a failure before the number of sessions is asked for again
const COUNTED = 10_000; // milliseconds between two readings of counts

export class Feed {
  /** Whether the sessions shown are all that are followed. */
  isComplete = false;
  /** Says that there are other sessions than those that are followed; "" if there are not. */
  others = "";

  #api;
  #to;
  #stream;
  #followed; // the filters of the stream; undefined if there is none
  #filters = {};
  #deciding;
  #hasSnapshot = false;
  #wakeUp = () => {};

  /** `to` are the parts of the page that it feeds. */
  constructor(api, to) {
    this.#api = api;
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

  /** Starts over: nothing is known until the sessions have been read again. */
  restart() {
    this.stop();
    this.isComplete = false;
    this.#to.store.clear();
    this.#to.connection.restart();
    this.#to.restarted();
    this.#deciding = new AbortController();
    this.#decide(this.#deciding.signal);
  }

  /** Tries again now, if the connection is lost. */
  retry() {
    if (this.#stream) this.#stream.retry();
    else this.#wakeUp();
  }

  /** Follows nothing until it is asked to again. */
  stop() {
    this.#deciding?.abort();
    this.#deciding = undefined;
    this.#stream?.stop();
    this.#stream = undefined;
    this.#followed = undefined;
    this.#wakeUp();
  }

  async #decide(signal) {
    const { connection, overview, health, chosen } = this.#to;
    while (!signal.aborted) {
      let wait = COUNTED;
      try {
        const filters = askable(this.#filters);
        const total = await countOf(this.#api, {}, signal);
        const matching = total > MOST ? await countOf(this.#api, filters, signal) : total;
        signal.throwIfAborted();
        this.others = total > MOST ? ` followed, of ${number(total)} in all` : "";
        chosen(matching > MOST);
        if (matching <= MOST) {
          this.#follow(total > MOST ? filters : {});
          return;
        }
        await overview.show(total, matching, this.#filters, signal);
        connection.count();
        health.read(true);
      } catch (error) {
        if (signal.aborted) return;
        connection.lose(
          error instanceof TypeError ? "the gateway cannot be reached" : error.message,
        );
        wait = error.retryAfter ?? AGAIN * (0.5 + Math.random());
      }
      await new Promise((resolve) => {
        this.#wakeUp = resolve;
        setTimeout(resolve, wait);
      });
    }
  }

  #follow(filters) {
    this.#followed = filters;
    const { store, clock, connection, health, touched, changed, complete } = this.#to;
    const stream = new SessionStream(this.#api, {
      snapshot: () => {
        store.begin();
        this.#hasSnapshot = true;
      },
      upsert: (resource) => {
        const session = readSession(resource, clock.running);
        const before = store.live.get(session.id);
        store.put(session);
        if (store.arriving !== undefined) {
          connection.load(store.arriving);
          return;
        }
        // When a session was last active is no change that anybody waits for.
        if (!before || !isSame(before, session)) connection.change();
        touched(session.id);
        changed();
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
      sync: async () => {
        const wasArriving = store.arriving !== undefined;
        store.complete();
        this.isComplete = true;
        if (wasArriving) await complete();
        if (this.#stream !== stream) return;
        connection.live();
        if (store.live.size > 1.5 * MOST) this.restart();
      },
      lost: (detail) => connection.lose(detail),
    });
    this.#stream = stream;
    stream.follow(streamPath(filters));
  }
}
