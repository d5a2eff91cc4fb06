/** What scrolls the conversation in `bench`: its own pane where there is room for one, else the page. */
export function scrollerOf(bench: Element): Element {
  const pane = bench.querySelector('[data-part="scroll"]');
  const scrolls = pane !== null && getComputedStyle(pane).overflowY === "auto";
  return scrolls ? pane : document.scrollingElement!;
}

/** Whether a reader sees the end of it, or nearly. */
export function isAtEnd(box: Element): boolean {
  return box.scrollHeight - box.scrollTop - box.clientHeight < 64;
}
