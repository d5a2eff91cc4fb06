import type { Behavior } from "../attach";

/** The rail, where it is longer than the screen, begins far enough down to show the page that is open. */
const rail: Behavior = (nav) => {
  const show = () => {
    const current = nav.querySelector<HTMLElement>('[aria-current="page"]');
    if (!current) return;
    const below = current.getBoundingClientRect().bottom - nav.getBoundingClientRect().bottom;
    if (below > 0) nav.scrollTop += below + current.offsetHeight;
  };
  show();
  // On a narrow screen it is a sheet, which has no size until it opens.
  nav.addEventListener("toggle", show);
};

export default rail;
