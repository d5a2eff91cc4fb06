import type { Behavior } from "../attach";

/** A form that is sent once: its buttons rest until the next page arrives. */
const busy: Behavior = (form) => {
  const buttons = () => form.querySelectorAll<HTMLButtonElement>("button[type=submit], button:not([type])");
  form.addEventListener("submit", (event) => {
    // After this turn, so that the pressed button's own name and value still travel with the form.
    window.setTimeout(() => {
      if (event.defaultPrevented) return;
      for (const button of buttons()) button.disabled = true;
    });
  });
  // A page restored by the back button must be usable again.
  const wake = () => buttons().forEach((button) => (button.disabled = false));
  window.addEventListener("pageshow", wake);
  return () => window.removeEventListener("pageshow", wake);
};

export default busy;
