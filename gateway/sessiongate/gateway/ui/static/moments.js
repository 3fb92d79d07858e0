/** Moments of the past: reads them as people type them, and as the address and the API have them. */

const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const RELATIVE = /^-?\s*(\d{1,7})\s*([smhd])$/;
const CLOCK = /^(\d{1,2}):(\d\d)(?::(\d\d))?$/;
const DATE = /^(\d{4})-(\d\d)-(\d\d)[T ]+(\d\d?):(\d\d)(?::(\d\d)(?:\.\d+)?)?$/;
const STAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const ZONE = /\s*(Z|UTC|[+-]\d\d:?\d\d)$/i;

/** The spans of time that can be looked at, and what people call them. */
export const SPANS = {
  "15m": "15 minutes",
  "1h": "1 hour",
  "6h": "6 hours",
  "24h": "24 hours",
  "7d": "7 days",
  "30d": "30 days",
};

/** Returns the length of a span in milliseconds. */
export function lengthOf(span) {
  const [, amount, unit] = RELATIVE.exec(span);
  return amount * UNITS[unit];
}

/** Returns a time with its zone in milliseconds since the epoch, or undefined if it is none. */
export function readStamp(text) {
  const time = STAMP.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(time) ? undefined : time;
}

/** Writes a time for the address and the API: "2026-11-27T14:05:00Z". */
export function writeStamp(time) {
  return new Date(time).toISOString().replace(".000", "");
}

/**
 * Returns the time that somebody typed, in milliseconds since the epoch, or undefined if it is none:
 * a time ago ("-15m"), a time of day ("14:05", the last one before now), or a date with a time.
 * Without a zone, it is the browser's.
 */
export function readMoment(text, now) {
  const typed = text.trim();
  const relative = RELATIVE.exec(typed);
  if (relative) return now - relative[1] * UNITS[relative[2]];
  const clock = CLOCK.exec(typed);
  if (clock) {
    const today = new Date(now);
    const [hour, minute, second] = partsOf(clock);
    const at = (day) =>
      localTime(today.getFullYear(), today.getMonth(), today.getDate() - day, hour, minute, second);
    const found = at(0);
    return found > now ? at(1) : found;
  }
  const zone = ZONE.exec(typed)?.[1].toUpperCase();
  const date = DATE.exec(zone ? typed.replace(ZONE, "") : typed);
  if (!date) return undefined;
  const [year, month, day, hour, minute, second] = partsOf(date);
  if (!zone) return localTime(year, month - 1, day, hour, minute, second);
  const written = [hour, minute, second].map((part) => String(part).padStart(2, "0")).join(":");
  const named = zone === "UTC" ? "Z" : zone.replace(/^([+-]\d\d)(\d\d)$/, "$1:$2");
  return readStamp(`${date[1]}-${date[2]}-${date[3]}T${written}${named}`);
}

function partsOf(found) {
  return found.slice(1, 7).map((part = "0") => Number(part));
}

function localTime(year, month, day, hour, minute, second) {
  if (hour > 23 || minute > 59 || second > 59 || month > 11) return undefined;
  const date = new Date(year, month, day, hour, minute, second);
  const isDay = day < 1 || date.getDate() === day; // no 31 February
  return isDay && year >= 1970 ? date.getTime() : undefined;
}
