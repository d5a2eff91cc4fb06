import type { Behavior } from "../attach";

/** A row that scrolls sideways: begins with its current item in view and says by `data-more` on which sides there is more. */
const strip: Behavior = (row) => {
  const current = row.querySelector<HTMLElement>("[aria-current]");
  if (current) row.scrollLeft = current.offsetLeft - row.offsetLeft - (row.clientWidth - current.offsetWidth) / 2;

  const mark = () => {
    const left = row.scrollWidth - row.clientWidth - row.scrollLeft;
    row.dataset.more = [row.scrollLeft > 1 ? "before" : "", left > 1 ? "after" : ""].join(" ").trim();
  };
  mark();
  row.addEventListener("scroll", mark, { passive: true });
  const watch = new ResizeObserver(mark);
  watch.observe(row);
  return () => watch.disconnect();
};

export default strip;
