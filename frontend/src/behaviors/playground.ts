import { attachAll } from "../attach";
import { isAtEnd, scrollerOf } from "../scrolling";
import type { Behavior } from "../attach";

/**
 * The workbench around the conversation: keys (Ctrl or Cmd with Enter runs, Escape stops), messages that come and go,
 * and a conversation that begins at its end. What the model writes is playground-run's.
 */
const playground: Behavior = (bench) => {
  const form = bench.querySelector("form")!;
  const prompt = form.querySelector<HTMLTextAreaElement>("[name=prompt]")!;
  const isMac = navigator.platform.startsWith("Mac");

  const nameKey = () => {
    const key = part(bench, "run-key");
    if (key && isMac) key.textContent = "⌘ ⏎";
  };

  const onKey = (event: KeyboardEvent) => {
    if (event.isComposing || document.querySelector("dialog[open]")) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.querySelector<HTMLButtonElement>("[data-run]")?.click();
    } else if (event.key === "Escape" && !bench.querySelector(":popover-open")) {
      form.querySelector<HTMLButtonElement>("[data-stop]")?.click();
    }
  };
  document.addEventListener("keydown", onKey);

  bench.addEventListener("click", (event) => {
    const button = (event.target as HTMLElement).closest("button");
    if (button?.dataset.removeTurn !== undefined) {
      removeTurn(button.closest<HTMLElement>("[data-turn]")!, prompt);
    } else if (button?.dataset.addTurn !== undefined) {
      addTurn(bench);
    } else if (button?.dataset.starter !== undefined) {
      prompt.value = button.textContent ?? "";
      prompt.focus();
    } else if (button?.dataset.stop !== undefined) {
      // Asked once is enough; the answer ends within a second.
      window.setTimeout(() => (button.disabled = true));
    }
  });

  bench.addEventListener("toggle", (event) => showEdited(event.target as HTMLElement), { capture: true });

  // When a run ends, parts of the workbench are exchanged: whoever read its end goes on seeing it.
  let wasAtEnd = false;
  bench.addEventListener("run-ended", () => (wasAtEnd = isAtEnd(scrollerOf(bench))));
  bench.addEventListener("htmx:afterSettle", () => {
    nameKey();
    const box = scrollerOf(bench);
    if (wasAtEnd) box.scrollTop = box.scrollHeight;
    wasAtEnd = false;
  });
  nameKey();

  const answer = bench.querySelector<HTMLElement>("#answer");
  if (answer?.ariaBusy) {
    const box = scrollerOf(bench);
    box.scrollTop = box.scrollHeight;
  } else {
    answer?.previousElementSibling?.scrollIntoView({ block: "start" });
  }
  if (matchMedia("(pointer: fine)").matches && !form.querySelector("[role=alert]")) prompt.focus({ preventScroll: true });

  return () => document.removeEventListener("keydown", onKey);
};

function part(root: ParentNode, name: string): HTMLElement | null {
  return root.querySelector<HTMLElement>(`[data-part="${name}"]`);
}

function addTurn(bench: HTMLElement): void {
  const template = bench.querySelector<HTMLTemplateElement>('template[data-part="new-turn"]')!;
  const turn = template.content.firstElementChild!.cloneNode(true) as HTMLElement;
  template.before(turn);
  attachAll(turn);
  // Whoever spoke last, the other one is next.
  const roles = bench.querySelectorAll<HTMLInputElement | HTMLSelectElement>("[data-turn] [name=role], #answer [name=role]");
  const before = roles[roles.length - 2]?.value;
  const role = turn.querySelector<HTMLSelectElement>("[name=role]")!;
  role.value = before === "user" ? "assistant" : "user";
  part(bench, "start")?.remove();
  turn.querySelector("textarea")!.focus();
}

/** An answer that was edited is shown as it will be sent: plainly, since only the server renders it. */
function showEdited(details: HTMLElement): void {
  const text = details.matches(".turn-edit:not([open])") && details.querySelector("textarea");
  if (!text || text.value === text.defaultValue) return;
  const shown = details.parentElement!.querySelector(":scope > .prose, :scope > .turn-plain");
  if (!shown) return;
  shown.className = "turn-plain";
  shown.textContent = text.value;
}

function removeTurn(turn: HTMLElement, prompt: HTMLElement): void {
  const next = turn.nextElementSibling?.querySelector<HTMLElement>("[data-remove-turn]");
  turn.remove();
  (next ?? prompt).focus();
}

export default playground;
