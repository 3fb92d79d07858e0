/** Reads the sessions that were connected at a moment of the past into the store. */

import { readGaps } from "./gaps.js";
import { writeStamp } from "./moments.js";
import { askable, isWithin, parametersOf } from "./scope.js";
import { PAST_FIELDS, readSession } from "./session.js";

/** The most sessions of a moment that the page reads. */
export const MOST = 10_000;

const PAGE = 1000; // sessions in one answer

/** Says in words why the past cannot be read, and what to do; `unknown` if an id is not known. */
export function reasonOf(error, unknown) {
  if (error instanceof TypeError) return "The gateway cannot be reached. Try again when it runs.";
  const { status, message } = error;
  if (error.code === "SESSION_NOT_FOUND") return unknown;
  if (status === 404)
    return "This gateway does not know the past: it is older than this page. Update Sessiongate.";
  if (status === 501)
    return "The core does not know the past: it is older than its gateway. Update Sessiongate there.";
  if (status === 503 || status === 504)
    return `The past cannot be read just now: ${message}. Try again in a while.`;
  if (error.name === "TimeoutError")
    return "The answer took too long. Try again, or choose a service or user first.";
  return `The past cannot be read: ${message}.`;
}

export class Past {
  /** Whether the sessions shown are all that were read. */
  isComplete = false;
  /** Says that there were other sessions than those that were read; "" if there were not. */
  others = "";
  /** Says why no session is shown. */
  emptiness = "";

  #api;
  #to;
  #at;
  #filters;
  #scope = {}; // the filters of what was read, or is being read
  #isTooMany = false; // whether without filters there are more sessions than are read
  #isCut = false; // whether there are even with them
  #reading;

  /** `to` are the parts of the page that it feeds. */
  constructor(api, to) {
    this.#api = api;
    this.#to = to;
  }

  /** Reads what is needed to show these filters at a moment. */
  show(at, filters) {
    this.#filters = filters;
    const scope = this.#isTooMany ? askable(filters, true) : {};
    const isSame = isWithin(scope, this.#scope) && isWithin(this.#scope, scope);
    const isHeld = isSame || (!this.#isCut && isWithin(filters, this.#scope));
    if (at === this.#at && isHeld) return;
    this.#at = at;
    this.#start(scope);
  }

  /** Reads it again. */
  retry() {
    if (this.#at !== undefined) this.#start(this.#scope);
  }

  /** Reads nothing until it is asked to again. */
  stop() {
    this.#reading?.abort();
    this.#at = undefined;
  }

  #start(scope) {
    this.#reading?.abort();
    this.#reading = new AbortController();
    this.#scope = scope;
    this.isComplete = false;
    this.#to.begun();
    this.#read(scope, this.#reading.signal);
  }

  async #read(scope, signal) {
    const { store, connection, complete, failed } = this.#to;
    store.begin();
    try {
      const { gaps, isCut } = await this.#pages(scope, signal);
      if (isEmpty(scope)) {
        this.#isTooMany = isCut;
        const filters = askable(this.#filters, true);
        if (isCut && !isEmpty(filters)) {
          this.#start(filters);
          return;
        }
      }
      this.#isCut = isCut;
      this.others = othersOf(isCut, scope);
      this.emptiness = "Nobody was connected then, as far as is known.";
      store.complete();
      this.isComplete = true;
      connection.live();
      complete(gaps, isCut);
    } catch (error) {
      if (signal.aborted) return;
      this.emptiness = "The sessions of that moment could not be read.";
      store.clear();
      this.isComplete = true;
      connection.live();
      failed(reasonOf(error));
    }
  }

  async #pages(scope, signal) {
    const { store, connection, clock } = this.#to;
    const parameters = parametersOf(scope);
    parameters.set("at", writeStamp(this.#at));
    parameters.set("sort", "connected");
    parameters.set("page[size]", PAGE);
    parameters.set("fields[sessions]", PAST_FIELDS.join(","));
    let first;
    let arrived = 0;
    for (;;) {
      const answer = await this.#api.get(`v1/history/sessions?${parameters}`, signal);
      signal.throwIfAborted();
      first ??= answer;
      for (const resource of answer.data) store.put(readSession(resource, clock.now));
      arrived += answer.data.length;
      connection.load(arrived);
      const next = afterOf(answer.links?.next);
      if (next === undefined || arrived >= MOST)
        return { gaps: readGaps(first.meta), isCut: next !== undefined };
      parameters.set("page[after]", next);
    }
  }
}

function othersOf(isCut, scope) {
  if (isCut) return " that connected first, of more";
  return isEmpty(scope) ? "" : " read, of more in all";
}

function isEmpty(filters) {
  return Object.keys(filters).length === 0;
}

// Only the cursor of the next page is followed: its host may be another name of this one.
function afterOf(link) {
  const href = typeof link === "object" ? link?.href : link;
  if (!href) return undefined;
  return new URL(href, location.href).searchParams.get("page[after]") ?? undefined;
}
