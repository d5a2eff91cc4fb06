import type { Behavior } from "../attach";

/** A filter form: sent when a choice changes; its submit button is only for those without scripts. */
const autosubmit: Behavior = (form) => {
  if (!(form instanceof HTMLFormElement)) return;
  form.addEventListener("change", () => form.requestSubmit());
};

export default autosubmit;
