import type { Behavior } from "../attach";

/** A button whose `commandfor` names a dialog, for browsers that do not know the attribute yet. */
const opens: Behavior = (button) => {
  if ("commandForElement" in button) return;
  button.addEventListener("click", () => {
    const target = document.getElementById(button.getAttribute("commandfor") ?? "");
    if (target instanceof HTMLDialogElement) target.showModal();
  });
};

export default opens;
