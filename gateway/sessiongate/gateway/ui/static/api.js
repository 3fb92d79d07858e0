/** Asks the gateway that this page comes from. */

import { schemesOf } from "./credentials.js";

/** The URL that the API's paths are relative to, also behind a proxy's prefix. */
export const ROOT = new URL("..", import.meta.url);

const PATIENCE = 30_000; // milliseconds that a document may take

/** An error that the API returned; `code` as in its documentation. */
export class ApiError extends Error {
  constructor(response, errors) {
    const [first = {}] = errors;
    super(first.detail ?? `the gateway answered with status ${response.status}`);
    this.name = "ApiError";
    this.status = response.status;
    this.code = first.code ?? "";
    this.schemes = schemesOf(response.headers.get("WWW-Authenticate"));
    const seconds = Number(response.headers.get("Retry-After"));
    this.retryAfter = seconds > 0 ? seconds * 1000 : undefined;
  }

  /** Whether other credentials, or the same ones later, would help. */
  get needsLogin() {
    return this.status === 401 || this.code === "TOO_MANY_ATTEMPTS";
  }
}

export class Api {
  // Without cookies and without the browser's own prompt. But a browser shows its certificate only
  // with "same-origin", so that is tried if the first request cannot be made at all.
  #mode = "omit";
  #isSure = false;
  #credentials;
  #login;
  #clock;

  /**
   * `login.renew(error)` resolves once the user has given other credentials, and `login.settle()`
   * is called once they are not what is wrong; `clock` is set by each answer.
   */
  constructor(credentials, login, clock) {
    this.#credentials = credentials;
    this.#login = login;
    this.#clock = clock;
  }

  /** Returns a document. Asks for credentials if they are needed; throws `ApiError`. */
  async get(path, signal) {
    return (await this.read(path, signal)).document;
  }

  /** Returns a document with its ETag, likewise. */
  read(path, signal) {
    return this.loggedIn(async () => {
      const bound = AbortSignal.timeout(PATIENCE);
      const response = await this.open(path, {
        headers: { Accept: "application/vnd.api+json" },
        signal: signal ? AbortSignal.any([signal, bound]) : bound,
      });
      const document = JSON.parse(await response.text(), exactly);
      return { document, etag: response.headers.get("ETag") };
    });
  }

  /** Does something to what has this ETag; returns the status. Throws `ApiError`. */
  async act(method, path, etag) {
    const type = method === "POST" ? { "Content-Type": "application/vnd.api+json" } : {};
    const { status } = await this.open(path, {
      method,
      headers: { Accept: "application/vnd.api+json", "If-Match": etag, ...type },
      signal: AbortSignal.timeout(PATIENCE),
    });
    return status;
  }

  /** Does what asks the gateway; again with other credentials, as long as it needs some. */
  async loggedIn(action) {
    for (;;) {
      const used = this.#credentials.authorization;
      try {
        return await action();
      } catch (error) {
        if (!(error instanceof ApiError) || !error.needsLogin) {
          this.#login.settle();
          throw error;
        }
        if (used === this.#credentials.authorization) await this.#login.renew(error);
      }
    }
  }

  /** Returns a response whose body is yet to be read. Throws `ApiError`. */
  async open(path, { headers, signal, method = "GET" }) {
    const { authorization } = this.#credentials;
    const sent = authorization ? { ...headers, Authorization: authorization } : headers;
    const response = await this.#fetch(new URL(path, ROOT), { headers: sent, signal, method });
    this.#clock.set(response.headers.get("Date"));
    if (response.ok) {
      this.#login.settle();
      return response;
    }
    let errors;
    try {
      ({ errors } = await response.json());
    } catch {
      // Something between the page and the gateway answered: the status says it all.
    }
    throw new ApiError(response, Array.isArray(errors) ? errors : []);
  }

  async #fetch(url, options) {
    const request = {
      cache: "no-store",
      redirect: "error",
      referrerPolicy: "no-referrer",
      ...options,
    };
    try {
      const response = await fetch(url, { ...request, credentials: this.#mode });
      this.#isSure = true;
      return response;
    } catch (error) {
      const isSure = this.#isSure || options.method !== "GET"; // else it could be done twice
      if (isSure || !(error instanceof TypeError)) throw error;
      const response = await fetch(url, { ...request, credentials: "same-origin" });
      this.#mode = "same-origin";
      this.#isSure = true;
      return response;
    }
  }
}

// Numbers that JavaScript would round stay the texts that they are.
function exactly(name, value, context) {
  return typeof value === "number" && !Number.isSafeInteger(value)
    ? (context?.source ?? value)
    : value;
}
