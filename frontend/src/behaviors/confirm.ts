import type { Behavior } from "../attach";

/**
 * On a form: asks `data-confirm` before it is sent, in the dialog that every page carries. `data-confirm-title` names
 * the thing, `data-confirm-action` the act on the button.
 */
const confirm: Behavior = (form) => {
  const dialog = document.getElementById("confirm-dialog");
  if (!(form instanceof HTMLFormElement) || !(dialog instanceof HTMLDialogElement)) return;
  let agreed = false;

  form.addEventListener(
    "submit",
    (event) => {
      if (agreed) {
        agreed = false;
        return;
      }
      event.preventDefault();
      event.stopImmediatePropagation();
      const { submitter } = event as SubmitEvent;
      ask(dialog, form.dataset, () => {
        agreed = true;
        form.requestSubmit(submitter);
      });
    },
    { capture: true },
  );
};

function ask(dialog: HTMLDialogElement, words: DOMStringMap, proceed: () => void): void {
  const part = <T extends HTMLElement>(name: string) => dialog.querySelector<T>(`[data-part="${name}"]`)!;
  const yes = part<HTMLButtonElement>("yes");
  const title = dialog.querySelector<HTMLElement>("h2")!;
  title.dataset.default ??= title.textContent ?? "";
  title.textContent = words.confirmTitle ?? title.dataset.default;
  part("text").textContent = words.confirm ?? "";
  yes.textContent = words.confirmAction ?? yes.dataset.default ?? "";
  dialog.onclose = () => {
    if (dialog.returnValue === "yes") proceed();
  };
  dialog.returnValue = "";
  dialog.showModal();
}

export default confirm;
