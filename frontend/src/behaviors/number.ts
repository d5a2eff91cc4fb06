import type { Behavior } from "../attach";

/** Rounds a large count for reading (12.4K, 1.2万) and keeps the exact one on hover. */
const number: Behavior = (element) => {
  const value = Number(element.dataset.value);
  if (!Number.isFinite(value) || Math.abs(value) < 10_000) return;
  const language = document.documentElement.lang;
  element.title = new Intl.NumberFormat(language).format(value);
  element.textContent = new Intl.NumberFormat(language, { notation: "compact", maximumSignificantDigits: 3 }).format(value);
};

export default number;
