import type { Behavior } from "../attach";

/** The command palette: Cmd-K or Ctrl-K opens it, typing narrows its links, arrows and Enter follow one. */
const palette: Behavior = (dialog) => {
  if (!(dialog instanceof HTMLDialogElement)) return;
  const input = dialog.querySelector<HTMLInputElement>("input")!;
  const items = [...dialog.querySelectorAll<HTMLAnchorElement>("[role=option]")];
  const nothing = dialog.querySelector<HTMLElement>("[data-part=nothing]")!;
  let active = 0;

  const shown = () => items.filter((item) => !item.hidden);
  const mark = (index: number) => {
    const visible = shown();
    active = visible.length ? (index + visible.length) % visible.length : 0;
    for (const item of items) item.setAttribute("aria-selected", String(item === visible[active]));
    visible[active]?.scrollIntoView({ block: "nearest" });
    const id = visible[active]?.id;
    if (id) input.setAttribute("aria-activedescendant", id);
    else input.removeAttribute("aria-activedescendant");
  };
  const narrow = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of items) {
      const text = item.textContent?.toLowerCase() ?? "";
      // What is not an address of its own is a search for what was typed.
      const search = item.dataset.search;
      if (search) {
        item.hidden = words.length === 0;
        item.querySelector("[data-part=typed]")!.textContent = input.value.trim();
        item.href = search + encodeURIComponent(input.value.trim());
      } else item.hidden = !words.every((word) => text.includes(word));
    }
    nothing.hidden = shown().length > 0;
    mark(0);
  };
  const open = () => {
    if (dialog.open) return;
    input.value = "";
    narrow();
    dialog.showModal();
    input.focus();
  };
  const shortcut = (event: KeyboardEvent) => {
    if (event.key.toLowerCase() !== "k" || !(event.metaKey || event.ctrlKey)) return;
    event.preventDefault();
    open();
  };

  input.addEventListener("input", narrow);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") mark(active + 1);
    else if (event.key === "ArrowUp") mark(active - 1);
    else if (event.key === "Enter") shown()[active]?.click();
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", shortcut);
  for (const button of document.querySelectorAll("[data-opens-palette]")) button.addEventListener("click", open);
  return () => document.removeEventListener("keydown", shortcut);
};

export default palette;
