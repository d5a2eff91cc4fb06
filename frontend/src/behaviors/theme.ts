import type { Behavior } from "../attach";

/** The theme form: what the server would keep in a cookie after a round trip, kept and shown at once. */
const theme: Behavior = (form) => {
  const buttons = [...form.querySelectorAll<HTMLButtonElement>('button[name="theme"]')];
  const show = () => {
    const current = document.documentElement.dataset.theme ?? "auto";
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.value === current));
  };
  form.addEventListener("submit", (event) => {
    const choice = ((event as SubmitEvent).submitter as HTMLButtonElement | null)?.value;
    if (!choice) return;
    event.preventDefault();
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `theme=${choice}; path=/; max-age=31536000; samesite=lax${secure}`;
    if (choice === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
    document.dispatchEvent(new CustomEvent("lyceum:theme"));
  });
  document.addEventListener("lyceum:theme", show);
  show();
  return () => document.removeEventListener("lyceum:theme", show);
};

export default theme;
