import type { Behavior } from "../attach";

/** On a <dialog>: opens it at once with `data-open`, closes it by a click beside it and by `[data-close]` inside. */
const dialog: Behavior = (element) => {
  if (!(element instanceof HTMLDialogElement)) return;
  element.addEventListener("click", (event) => {
    const target = event.target as HTMLElement;
    if (target === element || target.closest("[data-close]")) element.close();
  });
  if (element.dataset.open !== undefined && !element.open) element.showModal();
};

export default dialog;
