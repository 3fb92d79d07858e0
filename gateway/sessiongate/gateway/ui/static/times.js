/** Reads times as the API writes them, and says how long ago they were. */

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const ASCTIME = /^\w{3} (\w{3}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d) (\d{4})$/;
const ISO = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,3})\d*)?Z$/;
const SMALL = 1500; // milliseconds by which clocks may differ: the server's Date is in seconds

/**
 * Returns a time in milliseconds since the epoch, or undefined if the text is not a time in UTC:
 * "Wed May 17 10:06:35 2017" or "2017-05-17T10:06:35.000Z".
 */
export function parseTime(text) {
  if (typeof text !== "string") return undefined;
  let found = ISO.exec(text);
  if (found) {
    const [, year, month, day, hour, minute, second, part = "0"] = found;
    return Date.UTC(year, month - 1, day, hour, minute, second, part.padEnd(3, "0"));
  }
  found = ASCTIME.exec(text);
  const month = found ? MONTHS.indexOf(found[1]) : -1;
  if (month < 0) return undefined;
  return Date.UTC(found[6], month, found[2], found[3], found[4], found[5]);
}

/** Tells the server's time; or the moment at which it is frozen. */
export class Clock {
  #offset = 0;
  #frozen;

  /** Sets the clock by the Date of an answer that has just arrived. */
  set(date) {
    const server = date ? Date.parse(date) : NaN;
    if (Number.isNaN(server)) return;
    const offset = server + 500 - Date.now();
    this.#offset = Math.abs(offset) < SMALL ? 0 : offset;
  }

  /** Now, in milliseconds since the epoch. */
  get now() {
    return this.#frozen ?? this.running;
  }

  /** Now, even if the clock is frozen. */
  get running() {
    return Date.now() + this.#offset;
  }

  freeze(time = this.running) {
    this.#frozen = time;
  }

  thaw() {
    this.#frozen = undefined;
  }
}

/** Returns a duration in milliseconds as text: "12 s", "3 m 12 s", "4 h 5 m", "3 d 4 h". */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} m`;
  const days = Math.floor(hours / 24);
  return days < 100 ? `${days} d ${hours % 24} h` : `${days} d`;
}

/** Returns how far a time is from another: "12 s ago", "12 s before", "5 m 3 s later". */
export function distance(time, now, before = "ago") {
  return time > now ? `${duration(time - now)} later` : `${duration(now - time)} ${before}`;
}

/** Returns a time in UTC: "2017-05-17 10:06:35 UTC". */
export function inUtc(time) {
  const text = new Date(time).toISOString();
  return `${text.slice(0, -14)} ${text.slice(-13, -5)} UTC`;
}

/** Returns a time in the browser's time zone: "2017-05-17 12:06:35 +02:00". */
export function inLocal(time) {
  const date = new Date(time);
  const ahead = -date.getTimezoneOffset();
  const away = Math.abs(ahead);
  const shifted = new Date(time + ahead * 60_000).toISOString();
  const zone = `${ahead < 0 ? "-" : "+"}${pad(Math.floor(away / 60))}:${pad(away % 60)}`;
  return `${shifted.slice(0, -14)} ${shifted.slice(-13, -5)} ${zone}`;
}

/** Returns the time of day in the browser's time zone: "14:05:07". */
export function timeOfDay(time) {
  return inLocal(time).slice(-15, -7);
}

/** Returns the same, after the date if that is another day than `now`'s: "11-27 14:05:07". */
export function dayAndTime(time, now) {
  const isSameDay = inLocal(time).slice(0, -16) === inLocal(now).slice(0, -16);
  return inLocal(time).slice(isSameDay ? -15 : -21, -7);
}

function pad(number) {
  return String(number).padStart(2, "0");
}
