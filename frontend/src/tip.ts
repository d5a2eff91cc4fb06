export type Figure = { name: string; value: string; ink?: string; isLine?: boolean };

const GAP = 10;
const EDGE = 8;

/**
 * The figures of one place in a drawing, beside that place: they cover neither it nor, on a phone, what is drawn around
 * it, they do not leave the screen, and long names are cut short so that no figure is. A tooltip on a canvas does none of it.
 */
export function makeTip(frame: HTMLElement) {
  const tip = document.createElement("div");
  tip.className = "chart-tip";
  tip.setAttribute("role", "status"); // who goes from place to place with the keyboard hears them
  const mark = document.createElement("div");
  mark.className = "chart-mark";
  frame.append(mark, tip);

  /** `x` and `width` are those of the place, `top` and `height` those of the drawing, in the frame. */
  const show = (title: string, figures: Figure[], box: { x: number; width: number; top: number; height: number }) => {
    tip.replaceChildren(line("chart-tip-title", title), ...figures.flatMap(cells));
    Object.assign(mark.style, { left: `${box.x - box.width / 2}px`, width: `${box.width}px`, top: `${box.top}px`, height: `${box.height}px` });
    const { left, top } = frame.getBoundingClientRect();
    const { offsetWidth: wide, offsetHeight: high } = tip;
    const { clientWidth, clientHeight } = document.documentElement;
    const after = box.x + box.width / 2 + GAP;
    const before = box.x - box.width / 2 - GAP - wide;
    let [x, y] = [after, Math.min(0, clientHeight - EDGE - high - top)];
    if (left + after + wide + EDGE > clientWidth) x = before;
    if (left + x < EDGE) {
      x = Math.min(Math.max(box.x - wide / 2, EDGE - left), clientWidth - EDGE - wide - left);
      // The bar of the page stays above everything.
      const bar = parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop) || 0;
      y = top - GAP - high < bar ? frame.offsetHeight + GAP : -GAP - high;
    }
    Object.assign(tip.style, { left: `${x}px`, top: `${y}px` });
  };
  const hide = () => {
    tip.replaceChildren();
    mark.removeAttribute("style");
  };
  const remove = () => {
    tip.remove();
    mark.remove();
  };
  return { show, hide, remove };
}

function line(className: string, text: string): HTMLElement {
  const made = document.createElement("span");
  made.className = className;
  made.textContent = text;
  return made;
}

function cells({ name, value, ink, isLine }: Figure): HTMLElement[] {
  const swatch = line(isLine ? "dash-swatch" : "chart-tip-swatch", "");
  if (ink) swatch.style.backgroundColor = ink;
  return [swatch, line("chart-tip-name", name), line("chart-tip-value", value)];
}
