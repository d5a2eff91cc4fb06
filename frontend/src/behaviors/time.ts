import type { Behavior } from "../attach";

const MINUTE = 60_000;
const STEPS: [Intl.RelativeTimeFormatUnit, number, number][] = [
  ["minute", MINUTE, 60 * MINUTE],
  ["hour", 60 * MINUTE, 24 * 60 * MINUTE],
  ["day", 24 * 60 * MINUTE, 7 * 24 * 60 * MINUTE],
];

/** Relative up to a week, the date after that; the full time, in the reader's zone, on hover. With `data-clock` the time to the second, as lines of a log have it: with its date if it is not of today. */
const time: Behavior = (element) => {
  if (!(element instanceof HTMLTimeElement)) return;
  const at = new Date(element.dateTime);
  if (Number.isNaN(at.getTime())) return;
  const language = document.documentElement.lang;
  element.title = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" }).format(at);

  const show = () => (element.textContent = relative(at, language, element.dataset.clock !== undefined));
  show();
  const timer = window.setInterval(show, MINUTE);
  return () => window.clearInterval(timer);
};

function relative(at: Date, language: string, withClock: boolean): string {
  const away = at.getTime() - Date.now();
  const distance = Math.abs(away);
  const words = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  const now = new Date();
  if (withClock) {
    const day: Intl.DateTimeFormatOptions = at.toDateString() === now.toDateString() ? {} : { month: "short", day: "numeric" };
    return new Intl.DateTimeFormat(language, { ...day, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(at);
  }
  if (distance < MINUTE) return document.body.dataset.justNow ?? words.format(0, "second");
  // To the nearest: 24 hours that began a moment ago are a day, and not 23 hours.
  for (const [unit, size, limit] of STEPS) {
    const count = Math.round(distance / size);
    if (count * size < limit) return words.format(Math.sign(away) * count, unit);
  }
  const sameYear = at.getFullYear() === now.getFullYear();
  const form: Intl.DateTimeFormatOptions = { month: "short", day: "numeric", ...(sameYear ? {} : { year: "numeric" }) };
  return new Intl.DateTimeFormat(language, form).format(at);
}

export default time;
