import type { Behavior } from "../attach";

/** A popover menu: arrow keys move inside it; where the browser cannot anchor, it is placed beneath its button. */
const menu: Behavior = (panel) => {
  const items = () => [...panel.querySelectorAll<HTMLElement>("a[href], button:not(:disabled)")];
  const opener = () => document.querySelector<HTMLElement>(`[popovertarget="${panel.id}"]`);

  panel.addEventListener("toggle", (event) => {
    if ((event as ToggleEvent).newState !== "open" || CSS.supports("position-area: block-end")) return;
    const box = opener()?.getBoundingClientRect();
    if (!box) return;
    const left = panel.classList.contains("menu-panel-start") ? box.left : box.right - panel.offsetWidth;
    panel.style.left = `${Math.max(8, Math.min(left, window.innerWidth - panel.offsetWidth - 8))}px`;
    panel.style.top = `${Math.min(box.bottom, window.innerHeight - panel.offsetHeight - 8)}px`;
  });
  panel.addEventListener("keydown", (event) => {
    const all = items();
    const current = all.indexOf(document.activeElement as HTMLElement);
    const next = { ArrowDown: current + 1, ArrowUp: current - 1, Home: 0, End: all.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    all[(next + all.length) % all.length]?.focus();
  });
  opener()?.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown") return;
    event.preventDefault();
    panel.showPopover();
    items()[0]?.focus();
  });
};

export default menu;
