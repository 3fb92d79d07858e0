/** Divides long work, so that input is handled and frames are painted in between. */

const AT_ONCE = 10; // milliseconds of work between two rests

/** Lets the browser do what is due; resolves in a later task. */
export function rest() {
  if (globalThis.scheduler?.yield) return globalThis.scheduler.yield();
  return new Promise((resolve) => setTimeout(resolve));
}

/** Measures a stretch of work: `await turn.pause()` rests if it has lasted long enough. */
export class Turn {
  #began = performance.now();

  /** Whether it is time to rest. */
  get isOver() {
    return performance.now() - this.#began > AT_ONCE;
  }

  /** Rests, and begins the next stretch. */
  async pause() {
    await rest();
    this.#began = performance.now();
  }
}
