/** Holds the sessions: as they have arrived, and as they are shown. */

import { isSame } from "./session.js";

export class SessionStore {
  /** Id to session: what has arrived. */
  live = new Map();
  /** Id to session: what was last taken to be shown. */
  shown = new Map();
  /** Id to the ids of the shown sessions that wait for it. */
  blocks = new Map();
  /** The ids of the shown sessions that wait for others. */
  blocked = new Set();
  /** How many sessions of a snapshot have arrived; undefined if none is arriving. */
  get arriving() {
    return this.#next?.size;
  }

  #next; // of a snapshot that is not complete
  #changed = new Set();

  /** How many sessions have changed since they were last taken. */
  get waiting() {
    return this.#changed.size;
  }

  /** Begins a snapshot. What is held stays until it is complete. */
  begin() {
    this.#next = new Map();
  }

  /** Adds or replaces a session. */
  put(session) {
    if (this.#next) {
      this.#next.set(session.id, session);
      return;
    }
    this.live.set(session.id, session);
    this.#changed.add(session.id);
  }

  /** Removes a session, if it is held. */
  remove(id) {
    if (this.#next) this.#next.delete(id);
    else if (this.live.delete(id)) this.#note(id);
  }

  /** Makes a snapshot that is complete the state; what did not change stays the same object. */
  complete() {
    if (!this.#next) return;
    const before = this.live;
    this.live = this.#next;
    this.#next = undefined;
    for (const [id, session] of this.live) {
      const old = before.get(id);
      if (old && isSame(old, session)) {
        old.lastActive = session.lastActive;
        this.live.set(id, old);
      } else this.#changed.add(id);
    }
    for (const id of before.keys()) if (!this.live.has(id)) this.#note(id);
  }

  /** Forgets all sessions. */
  clear() {
    this.#next = new Map();
    this.complete();
    this.begin();
  }

  /** Takes over what has changed, and returns it as `{id, old, now}`; old or now may be missing. */
  take() {
    const changes = [];
    for (const id of this.#changed) {
      const [old, now] = [this.shown.get(id), this.live.get(id)];
      if (old === now) continue;
      if (now) this.shown.set(id, now);
      else this.shown.delete(id);
      if (old) this.#unlink(old);
      if (now) this.#link(now);
      changes.push({ id, old, now });
    }
    this.#changed.clear();
    return changes;
  }

  #note(id) {
    // A session that came and went since the last look is not a change.
    if (this.shown.has(id)) this.#changed.add(id);
    else this.#changed.delete(id);
  }

  #link(session) {
    if (session.blockedBy.length) this.blocked.add(session.id);
    for (const id of session.blockedBy) {
      const waiting = this.blocks.get(id);
      if (waiting) waiting.add(session.id);
      else this.blocks.set(id, new Set([session.id]));
    }
  }

  #unlink(session) {
    if (session.blockedBy.length) this.blocked.delete(session.id);
    for (const id of session.blockedBy) {
      const waiting = this.blocks.get(id);
      waiting?.delete(session.id);
      if (waiting?.size === 0) this.blocks.delete(id);
    }
  }
}
