import type { Behavior } from "../attach";

/** The moderators' queue by keyboard: J and K go to the next post and the one before it. */
const queue: Behavior = (list) => {
  const onKey = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || (event.key !== "j" && event.key !== "k")) return;
    const target = event.target as HTMLElement;
    if (target.matches("input, textarea, select") || target.closest("dialog[open]")) return;
    const cases = [...list.children] as HTMLElement[];
    const at = cases.findIndex((one) => one.contains(document.activeElement));
    const next = cases[event.key === "j" ? at + 1 : Math.max(at - 1, 0)];
    if (!next) return;
    event.preventDefault();
    next.tabIndex = -1;
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
};

export default queue;
