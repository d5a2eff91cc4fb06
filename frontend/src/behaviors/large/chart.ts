import {
  BarController,
  BarElement,
  CategoryScale,
  Chart,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  type ChartDataset,
  type ScriptableContext,
} from "chart.js";
import type { Behavior } from "../../attach";
import { makeTip, type Figure } from "../../tip";

Chart.register(BarController, BarElement, CategoryScale, LinearScale, LineController, LineElement, PointElement);

type Unit = "count" | "dollars" | "milliseconds" | "share";
type Kind = "bar" | "line";
type Drawing = {
  kind: "bars" | "lines";
  unit: Unit;
  labels: string[];
  /** The labels in full, for the figures of a place. */
  titles: string[];
  /** `color` is one of the theme's eight, from 1; a null leaves a gap. */
  series: { name: string; color: number; values: (number | null)[] }[];
  /** The period before, with titles of its own; an empty one where it has no such place. */
  before: { name: string; titles: string[]; values: (number | null)[] } | null;
};

/**
 * Draws bars that stack, or lines, as the JSON script named by `data-source` says, with a line of the period before if
 * it is compared with that; again when that script, the theme or
 * the window changes. Pointed at, or walked through with the arrow keys, it tells the figures of a place. The details
 * called like the frame with `-table` hold the same figures as a table, once opened.
 */
const chart: Behavior = (frame) => {
  const canvas = frame.querySelector("canvas");
  if (!canvas) return;
  const details = document.getElementById(`${frame.id}-table`);
  let seen = "";
  let drawing: Drawing | undefined;
  let drawn: Chart<Kind, (number | null)[], string> | undefined;
  let place = -1;
  const tip = makeTip(frame);

  const read = (): Drawing | undefined => {
    const text = document.getElementById(frame.dataset.source ?? "")?.textContent ?? "";
    if (!text || text === seen) return undefined;
    seen = text;
    return JSON.parse(text) as Drawing;
  };
  const draw = () => {
    if (!drawing) return;
    const { colors, options, datasets } = describe(drawing);
    Chart.defaults.color = colors.muted;
    if (drawn) {
      drawn.data = { labels: drawing.labels, datasets };
      drawn.options = options;
      drawn.update("none");
    } else {
      drawn = new Chart<Kind, (number | null)[], string>(canvas, { type: drawing.kind === "lines" ? "line" : "bar", data: { labels: drawing.labels, datasets }, options });
    }
  };
  const light = (elements: { datasetIndex: number; index: number }[]) => {
    drawn?.setActiveElements(elements);
    drawn?.draw();
  };
  const point = (next: number) => {
    if (!drawing || !drawn) return;
    const { x: across, y: up } = drawn.scales;
    const last = drawing.titles.length - 1;
    if (!across || !up || last < 0) return;
    place = Math.min(Math.max(next, 0), last);
    const width = drawing.kind === "bars" ? across.width / (last + 1) : 1;
    light(drawn.data.datasets.flatMap(({ type }, datasetIndex) => (type === "line" ? [{ datasetIndex, index: place }] : [])));
    const figures = figuresAt(drawing, place, details?.dataset.all ?? "");
    tip.show(drawing.titles[place] ?? "", figures, { x: across.getPixelForValue(place), width, top: up.top, height: up.height });
  };
  const leave = () => {
    if (place < 0) return;
    place = -1;
    light([]);
    tip.hide();
  };
  const follow = (event: PointerEvent) => {
    const across = drawn?.scales.x;
    if (across) point(Math.round(across.getValueForPixel(event.offsetX) ?? 0));
  };
  const walk = (event: KeyboardEvent) => {
    const last = (drawing?.titles.length ?? 0) - 1;
    const moves: Record<string, number> = { ArrowLeft: place < 0 ? last : place - 1, ArrowRight: place + 1, Home: 0, End: last };
    const next = moves[event.key];
    if (event.key === "Escape") leave();
    if (next === undefined || event.metaKey || event.ctrlKey || event.altKey) return;
    event.preventDefault();
    point(next);
  };
  // A finger that is lifted leaves the canvas, and has not yet read.
  const part = (event: PointerEvent) => event.pointerType !== "touch" && leave();
  const elsewhere = (event: Event) => event.target !== canvas && leave();
  const list = () => {
    if (drawing && details instanceof HTMLDetailsElement && details.open) tabulate(drawing, details);
  };
  const refresh = () => {
    const next = read();
    if (!next) return;
    drawing = next;
    draw();
    list();
    if (place >= 0) point(place);
  };

  refresh();
  const ended = new AbortController();
  const { signal } = ended;
  frame.tabIndex = 0;
  frame.addEventListener("keydown", walk, { signal });
  frame.addEventListener("blur", leave, { signal });
  canvas.addEventListener("pointermove", follow, { signal });
  canvas.addEventListener("pointerdown", follow, { signal });
  canvas.addEventListener("pointerleave", part, { signal });
  document.addEventListener("pointerdown", elsewhere, { signal });
  details?.addEventListener("toggle", list, { signal });
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  document.addEventListener("lyceum:theme", draw, { signal });
  document.addEventListener("htmx:afterSettle", refresh, { signal });
  system.addEventListener("change", draw, { signal });
  return () => {
    ended.abort();
    drawn?.destroy();
    tip.remove();
  };
};

/** The largest first; zeros would bury what happened under what did not. What adds up ends with all. */
function figuresAt(drawing: Drawing, place: number, all: string): Figure[] {
  const adds = drawing.kind === "bars" && drawing.series.length > 1;
  const there = drawing.series
    .map(({ name, color, values }) => ({ name, value: values[place] ?? null, ink: `var(--chart-${color})` }))
    .filter(({ value }) => value || !adds)
    .sort((a, b) => (b.value ?? -1) - (a.value ?? -1));
  const sum = there.reduce((before, { value }) => before + (value ?? 0), 0);
  // As many digits in each, for they stand beneath each other.
  const exact = formatter(drawing.unit, false, sum >= 0.01 ? 4 : 6);
  const figures: Figure[] = there.map(({ name, value, ink }) => ({ name, value: value === null ? "–" : exact(value), ink }));
  if (adds && there.length !== 1) figures.push({ name: all, value: isThere(drawing, place) ? exact(sum) : "–" });
  if (drawing.before) {
    const { name, titles, values } = drawing.before;
    const value = values[place] ?? null;
    figures.push({ name: [name, titles[place]].filter(Boolean).join(" · "), value: value === null ? "–" : exact(value), isLine: true });
  }
  return figures;
}

/** Of what was not measured there is no sum. */
function isThere(drawing: Drawing, place: number): boolean {
  return drawing.series.some(({ values }) => (values[place] ?? null) !== null);
}

/** A row for each slice of time, a column for each series, one for all where they add up, and one for the period before. */
function tabulate(drawing: Drawing, details: HTMLDetailsElement): void {
  const exact = formatter(drawing.unit, false);
  const adds = drawing.kind === "bars" && drawing.series.length > 1;
  const table = document.createElement("table");
  table.className = "data-table keep-columns";
  const cell = (row: HTMLTableRowElement, text: string, scope?: "col" | "row") => {
    const made = document.createElement(scope ? "th" : "td");
    if (scope) made.setAttribute("scope", scope);
    if (scope !== "row" && row.childElementCount) made.className = "num";
    made.textContent = text;
    row.append(made);
  };
  const head = table.createTHead().insertRow();
  for (const name of [details.dataset.from ?? "", ...drawing.series.map((series) => series.name)]) cell(head, name, "col");
  if (adds) cell(head, details.dataset.all ?? "", "col");
  if (drawing.before) cell(head, drawing.before.name, "col");
  const body = table.createTBody();
  drawing.titles.forEach((title, place) => {
    const row = body.insertRow();
    const values = drawing.series.map((series) => series.values[place] ?? null);
    cell(row, title, "row");
    for (const value of values) cell(row, value === null ? "–" : exact(value));
    if (adds) cell(row, isThere(drawing, place) ? exact(values.reduce<number>((sum, value) => sum + (value ?? 0), 0)) : "–");
    if (!drawing.before) return;
    const before = drawing.before.values[place] ?? null;
    cell(row, before === null ? "–" : exact(before));
    row.lastElementChild?.setAttribute("title", drawing.before.titles[place] ?? "");
  });
  details.querySelector('[data-part="table"]')?.replaceChildren(table);
}

const DASHES = [[], [6, 3], [2, 2]];

function isAlone(values: (number | null)[], place: number): boolean {
  return (values[place - 1] ?? null) === null && (values[place + 1] ?? null) === null;
}

function describe(drawing: Drawing) {
  const styles = getComputedStyle(document.documentElement);
  const color = (name: string) => styles.getPropertyValue(name).trim();
  const colors = { muted: color("--muted"), line: color("--line"), ground: color("--raised") };
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  // On one axis all times are in one unit, zero too.
  const isLong = drawing.unit === "milliseconds" && drawing.series.some(({ values }) => values.some((value) => (value ?? 0) >= 1000));
  const short = isLong ? formatter("seconds", true) : formatter(drawing.unit, true);
  const font = { family: styles.fontFamily, size: 11 };

  const isStacked = drawing.kind === "bars";
  const datasets: ChartDataset<Kind, (number | null)[]>[] = drawing.series.map((series, place) => {
    const ink = color(`--chart-${series.color}`);
    return isStacked
      ? {
          type: "bar",
          label: series.name,
          data: series.values,
          backgroundColor: ink,
          // A hairline of the ground between the parts of a bar tells neighbours apart without their colours.
          borderColor: colors.ground,
          borderWidth: { top: drawing.series.length > 1 ? 1 : 0 },
          borderSkipped: false,
          maxBarThickness: 36,
          categoryPercentage: 0.82,
          barPercentage: 0.95,
        }
      : {
          type: "line",
          label: series.name,
          data: series.values,
          backgroundColor: ink,
          borderColor: ink,
          borderWidth: 1.75,
          // Told apart without their colours.
          borderDash: DASHES[place % DASHES.length],
          pointHoverRadius: 3.5,
          // A value between two gaps has no line to be seen by.
          pointRadius: (context: ScriptableContext<"line">) => (isAlone(series.values, context.dataIndex) ? 2.5 : 0),
        };
  });
  if (drawing.before) {
    const { name, values } = drawing.before;
    const line = { type: "line", label: name, data: values, pointRadius: (context: ScriptableContext<"line">) => (isAlone(values, context.dataIndex) ? 2 : 0) } as const;
    datasets.push({ ...line, order: isStacked ? -2 : 1, backgroundColor: colors.muted, borderColor: colors.muted, borderWidth: 1.5, borderDash: [4, 3], pointHoverRadius: 3.5 });
    // Whatever the color of a bar, the line stands on the ground.
    if (isStacked) datasets.push({ ...line, order: -1, stack: "ground", borderColor: colors.ground, borderWidth: 4, pointRadius: 0, pointHoverRadius: 0 });
  }

  const options = {
    responsive: true,
    maintainAspectRatio: false,
    animation: still ? (false as const) : { duration: 180 },
    events: [],
    scales: {
      x: {
        stacked: isStacked,
        grid: { display: false },
        border: { color: colors.line },
        ticks: { color: colors.muted, font, maxRotation: 0, autoSkipPadding: 16 },
      },
      y: {
        stacked: isStacked,
        beginAtZero: true,
        grid: { color: colors.line },
        border: { display: false },
        ticks: { color: colors.muted, font, maxTicksLimit: 5, precision: drawing.unit === "count" ? 0 : undefined, callback: (value: number | string) => short(Number(value)) },
      },
    },
  };
  return { colors, options, datasets };
}

/** How values read; those in `seconds` are milliseconds as well. */
function formatter(unit: Unit | "seconds", short: boolean, digits?: number): (value: number) => string {
  const language = document.documentElement.lang;
  if (unit === "milliseconds" || unit === "seconds") {
    const seconds = new Intl.NumberFormat(language, { style: "unit", unit: "second", maximumFractionDigits: short ? 2 : 1 });
    const millis = new Intl.NumberFormat(language, { style: "unit", unit: "millisecond", maximumFractionDigits: 0 });
    // The figures beside a chart say “s” in English.
    return (value) => (value >= 1000 || unit === "seconds" ? seconds.format(value / 1000).replace(" sec", " s") : millis.format(value));
  }
  if (unit === "share") {
    const percent = new Intl.NumberFormat(language, { style: "percent", minimumFractionDigits: short ? 0 : 2, maximumFractionDigits: 2 });
    return (value) => percent.format(value);
  }
  const form: Intl.NumberFormatOptions = short
    ? { notation: "compact", maximumSignificantDigits: 3 }
    : { maximumFractionDigits: unit === "dollars" ? (digits ?? 6) : 2 };
  if (unit === "dollars") Object.assign(form, { style: "currency", currency: "USD", currencyDisplay: "narrowSymbol", minimumFractionDigits: short ? undefined : (digits ?? 2) });
  const number = new Intl.NumberFormat(language, form);
  return (value) => number.format(value);
}

export default chart;
