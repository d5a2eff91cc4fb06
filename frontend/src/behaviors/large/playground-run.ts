import * as smd from "streaming-markdown";
import type { Behavior } from "../../attach";
import { isAtEnd, scrollerOf } from "../../scrolling";

/**
 * An answer that is being written: follows `data-stream` and shows each piece where it belongs. After a lost connection
 * the browser asks for what it missed; when the ticket in the address has run out, a new one is fetched from
 * `data-ticket`. At the end the server's own rendering of the finished run takes this element's place.
 */
const playgroundRun: Behavior = (answer) => {
  const part = (name: string) => answer.querySelector<HTMLElement>(`[data-part="${name}"]`)!;
  const status = part("status");
  const statusText = part("status-text");
  const unheardOf = part("unheard-of");
  const text = new Received(markdownInto(part("text")));
  const reasoning = new Received((piece) => part("reasoning").append(piece));
  let source: EventSource | undefined;
  let last = "";
  let failures = 0;
  let retry: number | undefined;
  let shown = statusText.textContent ?? "";

  const say = (words: string | undefined) => {
    shown = words ?? "";
    statusText.textContent = shown;
  };
  const patience = window.setTimeout(() => (unheardOf.dataset.shown = "yes"), Number(answer.dataset.unheardOfMs));
  const begun = () => {
    window.clearTimeout(patience);
    unheardOf.dataset.shown = "no";
  };

  const finish = () => {
    begun();
    source?.close();
    answer.dispatchEvent(new CustomEvent("run-ended", { bubbles: true }));
  };

  const open = (address: string) => {
    source = new EventSource(last ? `${address}&after=${encodeURIComponent(last)}` : address);
    const on = (name: string, act: (data: Record<string, unknown>) => void) =>
      source!.addEventListener(name, (event) => {
        if (event.lastEventId) last = event.lastEventId;
        failures = 0;
        act(JSON.parse(event.data) as Record<string, unknown>);
      });
    source.onopen = () => (statusText.textContent = shown);
    source.onerror = () => {
      statusText.textContent = status.dataset.lost ?? "";
      // While it is connecting the browser tries again by itself.
      if (source?.readyState === EventSource.CLOSED) retry = window.setTimeout(reopen, Math.min(1000 * 2 ** failures++, 15_000));
    };
    on("start", () => {
      begun();
      say(status.dataset.running);
    });
    on("reasoning", ({ at, delta }) => {
      part("reasoning-box").hidden = false;
      say(status.dataset.thinking);
      keepingPlace(answer, () => reasoning.take(at as number, delta as string));
    });
    on("text", ({ at, delta }) => {
      say(status.dataset.running);
      keepingPlace(answer, () => text.take(at as number, delta as string));
    });
    on("end", finish);
    on("output", () => undefined); // the stream is gone: the finished run that `end` fetches has the text
    on("gone", () => window.location.assign("/playground/"));
  };

  const reopen = async () => {
    try {
      const response = await fetch(answer.dataset.ticket!, { headers: { Accept: "application/json" } });
      if (!response.ok) throw new Error(response.statusText);
      open(((await response.json()) as { stream: string }).stream);
    } catch {
      retry = window.setTimeout(reopen, Math.min(1000 * 2 ** failures++, 15_000));
    }
  };

  open(answer.dataset.stream!);
  return () => {
    window.clearTimeout(patience);
    window.clearTimeout(retry);
    source?.close();
  };
};

/** Text that arrives in pieces with their places. What came before is not shown twice; after a gap nothing is added. */
class Received {
  private length = 0;

  constructor(private readonly write: (piece: string) => void) {}

  take(at: number, delta: string): void {
    if (at > this.length) return;
    const piece = delta.slice(this.length - at);
    if (!piece) return;
    this.length += piece.length;
    this.write(piece);
  }
}

/** A writer of Markdown into `element`: only nodes are made, never HTML, and only links that lead somewhere harmless. */
function markdownInto(element: HTMLElement): (piece: string) => void {
  const renderer = smd.default_renderer(element);
  const headings: readonly number[] = [smd.HEADING_1, smd.HEADING_2, smd.HEADING_3, smd.HEADING_4, smd.HEADING_5, smd.HEADING_6];
  const open: number[] = [];
  renderer.add_token = (data, token) => {
    // As on the server: an answer's headings begin below the page's own without gaps, and an image becomes a link.
    const level = headings.indexOf(token);
    if (level >= 0) {
      while (open.length && open[open.length - 1]! >= level) open.pop();
      open.push(level);
      token = headings[Math.min(1 + open.length, 5)] as smd.Token;
    }
    smd.default_add_token(data, token === smd.IMAGE ? smd.LINK : token);
    if (token === smd.CODE_FENCE || token === smd.CODE_BLOCK) data.nodes[data.index]!.parentElement!.tabIndex = 0;
  };
  renderer.set_attr = (data, attribute, value) => {
    if (attribute === smd.HREF || attribute === smd.SRC) {
      if (!isHarmless(value)) return;
      const link = data.nodes[data.index]!;
      link.setAttribute("rel", "nofollow ugc noopener noreferrer");
      smd.default_set_attr(data, smd.HREF, value);
    } else if (attribute !== smd.LANG) {
      smd.default_set_attr(data, attribute, value);
    }
  };
  const parser = smd.parser(renderer);
  return (piece) => smd.parser_write(parser, piece);
}

function isHarmless(address: string): boolean {
  try {
    return ["http:", "https:", "mailto:"].includes(new URL(address, document.baseURI).protocol);
  } catch {
    return false;
  }
}

/** Follows the end of the text for a reader who is there, and leaves one who has scrolled away in peace. */
function keepingPlace(answer: HTMLElement, change: () => void): void {
  const box = scrollerOf(answer.closest(".bench")!);
  const wasAtEnd = isAtEnd(box);
  change();
  if (wasAtEnd) box.scrollTop = box.scrollHeight;
}

export default playgroundRun;
