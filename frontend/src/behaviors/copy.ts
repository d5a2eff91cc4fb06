import { toast } from "../toast";
import type { Behavior } from "../attach";

/** A button that copies `data-copy`, the element with the id `data-copy-from`, or the code shown in `data-copy-within`. */
const copy: Behavior = (button) => {
  const label = button.querySelector("[data-copy-label]");
  const before = label?.textContent ?? "";
  let restore: number | undefined;

  button.addEventListener("click", async () => {
    const { copyFrom, copyWithin } = button.dataset;
    const source = copyFrom ? document.getElementById(copyFrom) : copyWithin ? button.closest<HTMLElement>(copyWithin) : null;
    const text = source ? visibleText(source) : (button.dataset.copy ?? "");
    if (!(await write(text))) return;
    const done = button.dataset.copied ?? "";
    if (label) {
      label.textContent = done;
      window.clearTimeout(restore);
      restore = window.setTimeout(() => (label.textContent = before), 1600);
    }
    if (done) toast(done);
  });
};

/** Of several tab panels only the one that is shown. */
function visibleText(source: HTMLElement): string {
  if (source instanceof HTMLInputElement || source instanceof HTMLTextAreaElement) return source.value;
  const panel = source.querySelector('[role="tabpanel"]:not([hidden]) pre') ?? source.querySelector("pre") ?? source;
  return (panel.textContent ?? "").replace(/\n$/, "");
}

async function write(text: string): Promise<boolean> {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Refused, or not a secure context: the old way below still works there.
    }
  }
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "sr-only";
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  return copied;
}

export default copy;
