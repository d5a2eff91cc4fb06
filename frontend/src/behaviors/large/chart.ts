import {
  BarController,
  BarElement,
  CategoryScale,
  Chart,
  Legend,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  Tooltip,
  type ChartDataset,
  type TooltipItem,
} from "chart.js";
import type { Behavior } from "../../attach";

Chart.register(
  BarController,
  BarElement,
  CategoryScale,
  Legend,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  Tooltip,
);

type Unit = "count" | "dollars" | "milliseconds" | "percent";
type Drawing = {
  /** Bars stack, lines do not. */
  kind: "bars" | "lines";
  unit: Unit;
  labels: string[];
  /** The labels in full, for the tooltip. */
  titles?: string[];
  /** False where the page itself says which color is what. */
  legend?: boolean;
  /** `color` is one of the theme's eight, from 1; a null leaves a gap. */
  series: { name: string; color: number; values: (number | null)[] }[];
};

/** Draws what the JSON script named by `data-source` says; again when that script, the theme or the window changes. */
const chart: Behavior = (frame) => {
  const canvas = frame.querySelector("canvas");
  if (!canvas) return;
  let seen = "";
  let drawing: Drawing | undefined;
  let drawn: Chart<"bar" | "line", (number | null)[], string> | undefined;

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
      // Kept, not made anew: a legend entry someone switched off stays off while figures arrive.
      const hidden = new Set(drawn.data.datasets.filter((_, i) => !drawn?.isDatasetVisible(i)).map(({ label }) => label));
      drawn.data = { labels: drawing.labels, datasets };
      drawn.options = options;
      datasets.forEach(({ label }, i) => drawn?.setDatasetVisibility(i, !hidden.has(label)));
      drawn.update("none");
    } else {
      const type = drawing.kind === "lines" ? "line" : "bar";
      drawn = new Chart(canvas, { type, data: { labels: drawing.labels, datasets }, options });
    }
  };
  const refresh = () => {
    const next = read();
    if (!next) return;
    drawing = next;
    draw();
  };

  refresh();
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  document.addEventListener("lyceum:theme", draw);
  document.addEventListener("htmx:afterSettle", refresh);
  system.addEventListener("change", draw);
  return () => {
    document.removeEventListener("lyceum:theme", draw);
    document.removeEventListener("htmx:afterSettle", refresh);
    system.removeEventListener("change", draw);
    drawn?.destroy();
  };
};

function describe(drawing: Drawing) {
  const styles = getComputedStyle(document.documentElement);
  const color = (name: string) => styles.getPropertyValue(name).trim();
  const colors = { muted: color("--muted"), line: color("--line"), ground: color("--raised") };
  const lines = drawing.kind === "lines";
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const exact = formatter(drawing.unit, false);
  const short = formatter(drawing.unit, true);
  const font = { family: styles.fontFamily, size: 11 };

  const datasets: ChartDataset<"bar" | "line", (number | null)[]>[] = drawing.series.map((series) => {
    const tone = color(`--chart-${series.color}`);
    return lines
      ? { type: "line", label: series.name, data: series.values, borderColor: tone, backgroundColor: tone, borderWidth: 2, pointRadius: 0, pointHoverRadius: 4, cubicInterpolationMode: "monotone" }
      : // A hairline of the ground between the parts of a bar tells neighbours apart without their colours.
        { type: "bar", label: series.name, data: series.values, backgroundColor: tone, borderColor: colors.ground, borderWidth: { top: drawing.series.length > 1 ? 1 : 0 }, borderSkipped: false, maxBarThickness: 36, categoryPercentage: 0.82, barPercentage: 0.95 };
  });

  const options = {
    responsive: true,
    maintainAspectRatio: false,
    animation: still ? (false as const) : { duration: 180 },
    interaction: { mode: "index" as const, intersect: false },
    scales: {
      x: {
        stacked: !lines,
        grid: { display: false },
        border: { color: colors.line },
        ticks: { color: colors.muted, font, maxRotation: 0, autoSkipPadding: 16 },
      },
      y: {
        stacked: !lines,
        beginAtZero: true,
        grid: { color: colors.line },
        border: { display: false },
        ticks: { color: colors.muted, font, maxTicksLimit: 5, precision: drawing.unit === "count" ? 0 : undefined, callback: (value: number | string) => short(Number(value)) },
      },
    },
    plugins: {
      legend: {
        display: drawing.legend !== false && drawing.series.length > 1,
        position: "bottom" as const,
        align: "start" as const,
        labels: { color: colors.muted, font: { ...font, size: 12 }, boxWidth: 10, boxHeight: 10, padding: 12 },
      },
      tooltip: {
        padding: 10,
        boxPadding: 4,
        cornerRadius: 6,
        titleFont: { ...font, size: 12 },
        bodyFont: { ...font, size: 12 },
        footerFont: { ...font, size: 12 },
        // Zeros would bury what happened under what did not.
        filter: (item: TooltipItem<"bar" | "line">) => Boolean(item.parsed.y) || drawing.series.length === 1,
        itemSort: (a: TooltipItem<"bar" | "line">, b: TooltipItem<"bar" | "line">) => (b.parsed.y ?? 0) - (a.parsed.y ?? 0),
        callbacks: {
          title: (items: TooltipItem<"bar" | "line">[]) => {
            const index = items[0]?.dataIndex ?? 0;
            return drawing.titles?.[index] ?? drawing.labels[index] ?? "";
          },
          label: (item: TooltipItem<"bar" | "line">) => `${item.dataset.label}: ${exact(item.parsed.y ?? 0)}`,
          footer: (items: TooltipItem<"bar" | "line">[]) =>
            lines || items.length < 2 ? "" : `Σ ${exact(items.reduce((sum, item) => sum + (item.parsed.y ?? 0), 0))}`,
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
    return (value) => (value >= 1000 ? seconds.format(value / 1000) : millis.format(value));
  }
  const form: Intl.NumberFormatOptions = short
    ? { notation: "compact", maximumSignificantDigits: 3 }
    : { maximumFractionDigits: unit === "dollars" ? 6 : 2 };
  if (unit === "dollars") Object.assign(form, { style: "currency", currency: "USD", currencyDisplay: "narrowSymbol", minimumFractionDigits: short ? undefined : 2 });
  if (unit === "percent") Object.assign(form, { style: "percent" });
  const number = new Intl.NumberFormat(language, form);
  return (value) => number.format(value);
}

export default chart;
