/** Says something that needs no answer, in the page's live region, for a few seconds. */
export function toast(text: string): void {
  const region = document.getElementById("toasts");
  if (!region) return;
  const item = document.createElement("div");
  item.className = "toast-item";
  item.textContent = text;
  region.append(item);
  window.setTimeout(() => item.remove(), 4000);
}
