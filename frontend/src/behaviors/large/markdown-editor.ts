import type { Behavior } from "../../attach";

/** What a toolbar button puts around the selection, or in front of each of its lines. */
const WRAPS: Record<string, [string, string]> = { bold: ["**", "**"], italic: ["*", "*"], code: ["`", "`"] };
const PREFIXES: Record<string, string> = { quote: "> ", list: "- ", numbered: "1. ", heading: "## " };
const KEYS: Record<string, string> = { b: "bold", i: "italic", e: "code", k: "link" };

/** A toolbar over a textarea, and a preview that the server renders as it will render the post. */
const markdownEditor: Behavior = (root) => {
  const area = root.querySelector("textarea");
  const preview = root.querySelector<HTMLElement>("[data-part=preview]");
  const toggle = root.querySelector<HTMLButtonElement>("[data-part=toggle]");
  const tools = root.querySelector<HTMLElement>("[data-part=tools]");
  if (!area || !preview || !toggle || !tools) return;

  tools.addEventListener("click", (event) => {
    const name = (event.target as HTMLElement).closest<HTMLElement>("[data-md]")?.dataset.md;
    if (name) apply(area, name);
  });
  area.addEventListener("keydown", (event) => {
    const name = event.ctrlKey || event.metaKey ? KEYS[event.key] : undefined;
    if (!name) return;
    event.preventDefault();
    event.stopPropagation();
    apply(area, name);
  });
  toggle.addEventListener("click", async () => {
    const showing = toggle.getAttribute("aria-pressed") === "true";
    toggle.setAttribute("aria-pressed", String(!showing));
    tools.inert = !showing;
    area.hidden = !showing;
    preview.hidden = showing;
    if (showing) {
      area.focus();
      return;
    }
    preview.setAttribute("aria-busy", "true");
    try {
      preview.innerHTML = await rendered(root.dataset.preview ?? "", area.value);
    } catch {
      preview.textContent = root.dataset.failed ?? "";
    }
    preview.removeAttribute("aria-busy");
  });
};

async function rendered(address: string, text: string): Promise<string> {
  const headers = JSON.parse(document.body.getAttribute("hx-headers") ?? "{}") as Record<string, string>;
  const answer = await fetch(address, { method: "POST", headers, body: new URLSearchParams({ text }) });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.text();
}

function apply(area: HTMLTextAreaElement, name: string): void {
  const { selectionStart: start, selectionEnd: end, value } = area;
  const chosen = value.slice(start, end);
  if (name === "link") return insert(area, start, end, `[${chosen}](https://)`, chosen ? start + chosen.length + 3 : start + 1);
  const prefix = PREFIXES[name];
  if (prefix) {
    const from = value.lastIndexOf("\n", start - 1) + 1;
    const lines = value.slice(from, end).split("\n");
    const text = lines.map((line, i) => (name === "numbered" ? `${i + 1}. ` : prefix) + line).join("\n");
    return insert(area, from, end, text, from + text.length);
  }
  const wrap: [string, string] | undefined =
    name === "code" && chosen.includes("\n") ? ["```\n", "\n```"] : WRAPS[name];
  if (!wrap) return;
  insert(area, start, end, wrap[0] + chosen + wrap[1], start + wrap[0].length + chosen.length);
}

function insert(area: HTMLTextAreaElement, start: number, end: number, text: string, caret: number): void {
  area.focus();
  area.setSelectionRange(start, end);
  // The old command keeps the browser's own undo; assigning the value would empty it.
  if (!document.execCommand("insertText", false, text)) area.setRangeText(text, start, end);
  area.setSelectionRange(caret, caret);
  area.dispatchEvent(new Event("input", { bubbles: true }));
}

export default markdownEditor;
