import type { Behavior } from "../attach";

const STEP = 16;

/**
 * A separator (role="separator") that gives the element after it its width, by pointer or arrow keys, between
 * `aria-valuemin` and `aria-valuemax` pixels. The width goes to the parent's `--side-width` and is remembered under
 * `data-remember`; a double click forgets it.
 */
const splitter: Behavior = (handle) => {
  const parent = handle.parentElement!;
  const side = handle.nextElementSibling as HTMLElement;
  const key = `splitter:${handle.dataset.remember ?? ""}`;
  const least = Number(handle.getAttribute("aria-valuemin"));
  const most = Number(handle.getAttribute("aria-valuemax"));

  const show = (width: number) => {
    const bounded = Math.round(Math.min(Math.max(width, least), most));
    parent.style.setProperty("--side-width", `${bounded}px`);
    handle.setAttribute("aria-valuenow", String(bounded));
    return bounded;
  };
  const keep = (width: number) => localStorage.setItem(key, String(show(width)));

  handle.addEventListener("pointerdown", (event) => {
    const edge = side.getBoundingClientRect().right;
    handle.setPointerCapture(event.pointerId);
    handle.dataset.moving = "";
    handle.onpointermove = (moved) => keep(edge - moved.clientX);
  });
  handle.addEventListener("lostpointercapture", () => {
    handle.onpointermove = null;
    delete handle.dataset.moving;
  });
  handle.addEventListener("keydown", (event) => {
    const change = { ArrowLeft: STEP, ArrowRight: -STEP }[event.key];
    if (change === undefined) return;
    event.preventDefault();
    keep(side.getBoundingClientRect().width + change);
  });
  handle.addEventListener("dblclick", () => {
    localStorage.removeItem(key);
    parent.style.removeProperty("--side-width");
  });

  const remembered = Number(localStorage.getItem(key));
  if (remembered) show(remembered);
};

export default splitter;
