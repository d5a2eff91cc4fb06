import type { Behavior } from "../attach";

/**
 * ARIA tabs. `data-remember="language"` keeps the choice (the tab's `data-value`) across pages and in every other set
 * on this page that remembers under the same name.
 */
const tabs: Behavior = (root) => {
  const list = root.querySelector<HTMLElement>('[role="tablist"]');
  const panels = [...root.querySelectorAll<HTMLElement>(':scope > [role="tabpanel"], :scope > * > [role="tabpanel"]')];
  if (!list || panels.length === 0) return;
  const remember = root.dataset.remember;

  const buttons = panels.map((panel, index) => {
    panel.id ||= `${root.id || "tabs"}-${index}`;
    const button = document.createElement("button");
    button.type = "button";
    button.id = `${panel.id}-tab`;
    button.className = "tab-item";
    button.textContent = panel.getAttribute("aria-label");
    button.dataset.value = panel.dataset.value ?? panel.id;
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", panel.id);
    panel.removeAttribute("aria-label");
    panel.setAttribute("aria-labelledby", button.id);
    return button;
  });
  list.replaceChildren(...buttons);

  const select = (index: number, focus = false) => {
    buttons.forEach((button, i) => {
      button.setAttribute("aria-selected", String(i === index));
      button.tabIndex = i === index ? 0 : -1;
      const panel = panels[i];
      if (panel) panel.hidden = i !== index;
    });
    if (focus) buttons[index]?.focus();
  };
  const choose = (index: number, focus = false) => {
    select(index, focus);
    const value = buttons[index]?.dataset.value;
    if (!remember || !value) return;
    localStorage.setItem(`tabs:${remember}`, value);
    document.dispatchEvent(new CustomEvent("lyceum:tabs", { detail: { remember, value, from: root } }));
  };

  buttons.forEach((button, index) => button.addEventListener("click", () => choose(index)));
  list.addEventListener("keydown", (event) => {
    const current = buttons.findIndex((button) => button.tabIndex === 0);
    const last = buttons.length - 1;
    const next = { ArrowRight: current + 1, ArrowLeft: current - 1, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    choose(next > last ? 0 : next < 0 ? last : next, true);
  });

  const follow = (event: Event) => {
    const { detail } = event as CustomEvent<{ remember: string; value: string; from: HTMLElement }>;
    const index = buttons.findIndex((button) => button.dataset.value === detail.value);
    if (detail.remember === remember && detail.from !== root && index >= 0) select(index);
  };
  document.addEventListener("lyceum:tabs", follow);

  const stored = remember ? localStorage.getItem(`tabs:${remember}`) : null;
  const linked = panels.findIndex((panel) => `#${panel.id}` === location.hash);
  select(Math.max(0, linked, buttons.findIndex((button) => button.dataset.value === stored)));
  root.dataset.ready = "";
  return () => document.removeEventListener("lyceum:tabs", follow);
};

export default tabs;
