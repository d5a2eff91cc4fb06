import {
  BarController,
  BarElement,
  CategoryScale,
  Chart,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  Tooltip,
  type ChartDataset,
  type ScriptableContext,
  type TooltipItem,
} from "chart.js";
import type { Behavior } from "../../attach";

Chart.register(BarController, BarElement, CategoryScale, LinearScale, LineController, LineElement, PointElement, Tooltip);

type Unit = "count" | "dollars" | "milliseconds";
type Kind = "bar" | "line";
type Drawing = {
  kind: "bars" | "lines";
  unit: Unit;
  labels: string[];
  /** The labels in full, for the tooltip. */
  titles: string[];
  /** `color` is one of the theme's eight, from 1; a null leaves a gap. */
  series: { name: string; color: number; values: (number | null)[] }[];
};

/**
 * Draws bars that stack, or lines, as the JSON script named by `data-source` says; again when that script, the theme or
 * the window changes. The details called like the frame with `-table` hold the same figures as a table, once opened.
 */
const chart: Behavior = (frame) => {
  const canvas = frame.querySelector("canvas");
  if (!canvas) return;
  const details = document.getElementById(`${frame.id}-table`);
  let seen = "";
  let drawing: Drawing | undefined;
  let drawn: Chart<Kind, (number | null)[], string> | undefined;

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
  const list = () => {
    if (drawing && details instanceof HTMLDetailsElement && details.open) tabulate(drawing, details);
  };
  const refresh = () => {
    const next = read();
    if (!next) return;
    drawing = next;
    draw();
    list();
  };

  refresh();
  details?.addEventListener("toggle", list);
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  document.addEventListener("lyceum:theme", draw);
  document.addEventListener("htmx:afterSettle", refresh);
  system.addEventListener("change", draw);
  return () => {
    details?.removeEventListener("toggle", list);
    document.removeEventListener("lyceum:theme", draw);
    document.removeEventListener("htmx:afterSettle", refresh);
    system.removeEventListener("change", draw);
    drawn?.destroy();
  };
};

/** A row for each slice of time, a column for each series, and one for all where they add up. */
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
  const body = table.createTBody();
  drawing.titles.forEach((title, place) => {
    const row = body.insertRow();
    const values = drawing.series.map((series) => series.values[place] ?? null);
    cell(row, title, "row");
    for (const value of values) cell(row, value === null ? "–" : exact(value));
    if (adds) cell(row, exact(values.reduce<number>((sum, value) => sum + (value ?? 0), 0)));
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
  const exact = formatter(drawing.unit, false);
  const short = formatter(drawing.unit, true);
  const colon = document.documentElement.lang.startsWith("zh") ? "：" : ": ";
  const font = { family: styles.fontFamily, size: 11 };

  const isStacked = drawing.kind === "bars";
  const datasets: ChartDataset<Kind, (number | null)[]>[] = drawing.series.map((series, place) => {
    const ink = color(`--chart-${series.color}`);
    return isStacked
      ? {
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
          label: series.name,
          data: series.values,
          backgroundColor: ink,
          borderColor: ink,
          borderWidth: 1.75,
          // Told apart without their colours.
          borderDash: DASHES[place % DASHES.length],
          // A value between two gaps has no line to be seen by.
          pointRadius: (context: ScriptableContext<"line">) => (isAlone(series.values, context.dataIndex) ? 2.5 : 0),
          pointHoverRadius: 3.5,
        };
  });

  const options = {
    responsive: true,
    maintainAspectRatio: false,
    animation: still ? (false as const) : { duration: 180 },
    interaction: { mode: "index" as const, intersect: false },
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
    plugins: {
      tooltip: {
        padding: 10,
        boxPadding: 4,
        cornerRadius: 6,
        titleFont: { ...font, size: 12 },
        bodyFont: { ...font, size: 12 },
        footerFont: { ...font, size: 12 },
        // Zeros would bury what happened under what did not.
        filter: (item: TooltipItem<Kind>) => Boolean(item.parsed.y) || drawing.series.length === 1,
        itemSort: (a: TooltipItem<Kind>, b: TooltipItem<Kind>) => (b.parsed.y ?? 0) - (a.parsed.y ?? 0),
        callbacks: {
          title: (items: TooltipItem<Kind>[]) => drawing.titles[items[0]?.dataIndex ?? 0] ?? "",
          label: (item: TooltipItem<Kind>) => `${item.dataset.label}${colon}${exact(item.parsed.y ?? 0)}`,
          footer: (items: TooltipItem<Kind>[]) =>
            items.length < 2 || !isStacked ? "" : `Σ ${exact(items.reduce((sum, item) => sum + (item.parsed.y ?? 0), 0))}`,
        },
      },
    },
  };
  return { colors, options, datasets };
}

function formatter(unit: Unit, short: boolean): (value: number) => string {
  const language = document.documentElement.lang;
  if (unit === "milliseconds") {
    const seconds = new Intl.NumberFormat(language, { style: "unit", unit: "second", maximumFractionDigits: 1 });
    const millis = new Intl.NumberFormat(language, { style: "unit", unit: "millisecond", maximumFractionDigits: 0 });
    // The figures beside a chart say “s” in English.
    return (value) => (value >= 1000 ? seconds.format(value / 1000).replace(" sec", " s") : millis.format(value));
  }
  const form: Intl.NumberFormatOptions = short
    ? { notation: "compact", maximumSignificantDigits: 3 }
    : { maximumFractionDigits: unit === "dollars" ? 6 : 2 };
  if (unit === "dollars") Object.assign(form, { style: "currency", currency: "USD", currencyDisplay: "narrowSymbol", minimumFractionDigits: short ? undefined : 2 });
  const number = new Intl.NumberFormat(language, form);
  return (value) => number.format(value);
}

export default chart;
