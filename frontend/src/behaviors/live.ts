import htmx from "htmx.org";
import type { Behavior } from "../attach";

/**
 * Asks for news every `data-every` seconds while the page is looked at, and says when it last heard: the element itself
 * carries the hx-get with `hx-trigger="live"`, its `[data-part="updated"]` holds the time, and stays in view while news
 * fail to come, be they refused or not answered at all: what is not answered while two more would have been asked for is
 * given up and asked for anew. Nobody is interrupted: while something in it has the focus of a keyboard or is selected,
 * the swap waits; what they opened stays open.
 */
const live: Behavior = (root) => {
  const every = Number(root.dataset.every) * 1000;
  const clock = new Intl.DateTimeFormat(document.documentElement.lang, {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
    timeZone: zone(root),
  });
  let waiting = false;
  let askedAt = 0;
  let heardAt = new Date();

  const say = (late: boolean) => {
    tell(document.getElementById(`${root.id}-live`), clock.format(heardAt), late);
    const line = root.querySelector<HTMLElement>('[data-part="updated"]');
    const time = clock.format(heardAt);
    if (!line) return;
    line.textContent = (late ? root.dataset.late : root.dataset.fresh)?.replace("%s", time) ?? time;
    line.toggleAttribute("data-stale", late);
  };
  const ask = () => {
    // Given up, it ends as one that failed.
    if (waiting && Date.now() - askedAt >= 2 * every) htmx.trigger(root, "htmx:abort");
    if (document.hidden || waiting || isBusy(root)) return;
    waiting = true;
    askedAt = Date.now();
    htmx.trigger(root, "live");
  };
  const heard = (event: Event) => {
    const { elt, successful } = (event as CustomEvent<{ elt: Element; successful?: boolean }>).detail;
    if (elt !== root) return;
    waiting = false;
    if (successful) heardAt = new Date();
    say(!successful);
  };

  let opened: string[] = [];
  const remember = () => {
    opened = Array.from(root.querySelectorAll("details[id][open]"), (details) => details.id);
  };
  const reopen = () => {
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  };

  root.addEventListener("htmx:afterRequest", heard);
  root.addEventListener("htmx:beforeSwap", remember);
  root.addEventListener("htmx:afterSwap", reopen);
  document.addEventListener("visibilitychange", ask);
  const timer = window.setInterval(ask, every);
  say(false);
  // The first page of a visit was made before the server knew whose days to count by.
  if (root.dataset.zone !== Intl.DateTimeFormat().resolvedOptions().timeZone) ask();
  return () => {
    window.clearInterval(timer);
    document.removeEventListener("visibilitychange", ask);
  };
};

/** The mark at the head of the page, which is outside of what is swapped. */
function tell(mark: HTMLElement | null, time: string, late: boolean): void {
  if (!mark) return;
  mark.dataset.state = late ? "late" : "fresh";
  mark.querySelector('[data-part="time"]')?.replaceChildren(time);
  // A new dot begins its beat anew.
  const dot = mark.querySelector(".live-dot");
  dot?.replaceWith(dot.cloneNode());
}

function zone(root: HTMLElement): string | undefined {
  return Intl.supportedValuesOf("timeZone").includes(root.dataset.zone ?? "") ? root.dataset.zone : undefined;
}

function isBusy(root: HTMLElement): boolean {
  const selection = document.getSelection();
  const selects = selection !== null && !selection.isCollapsed && root.contains(selection.anchorNode);
  return selects || root.querySelector(":focus-visible") !== null;
}

export default live;
