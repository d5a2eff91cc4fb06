import type { Behavior } from "../attach";

interface Draft {
  values: Record<string, string>;
  sent: boolean;
}

const KEPT = "input[type=text], textarea, input:not([type])";

const prefix = "draft:";

function read(key: string): Draft | null {
  try {
    return JSON.parse(sessionStorage.getItem(prefix + key) ?? "null") as Draft | null;
  } catch {
    return null;
  }
}

/**
 * What is being written in the form around it outlives a reload, a sign-in that ran out and a lost connection, in this
 * tab only. It is offered, not put back unasked: it may have been posted. `data-posted` drops what was posted.
 */
const draft: Behavior = (notice) => {
  const key = notice.dataset.draft ?? "";
  if (notice.dataset.posted !== undefined || /^#[ac]_/.test(location.hash)) {
    if (read(key)?.sent) sessionStorage.removeItem(prefix + key);
  }
  const form = notice.closest("form");
  if (!form) return;
  const fields = [...form.querySelectorAll<HTMLInputElement | HTMLTextAreaElement>(KEPT)].filter((field) => field.name);
  const given = new Map(fields.map((field) => [field.name, field.value]));

  const keep = (sent: boolean) => {
    const values = Object.fromEntries(fields.map((field) => [field.name, field.value]));
    const changed = fields.some((field) => field.value !== given.get(field.name));
    try {
      if (changed) sessionStorage.setItem(prefix + key, JSON.stringify({ values, sent }));
    } catch {
      // No room or no permission: the form still works, only without a net.
    }
  };
  form.addEventListener("input", () => {
    notice.hidden = true;
    keep(false);
  });
  form.addEventListener("submit", () => keep(true));

  const kept = read(key);
  const differs = kept && fields.some((field) => kept.values[field.name] && kept.values[field.name] !== field.value);
  if (!kept || !differs) return;
  notice.hidden = false;
  notice.querySelector("[data-part=restore]")?.addEventListener("click", () => {
    for (const field of fields) field.value = kept.values[field.name] ?? field.value;
    notice.hidden = true;
    fields.at(0)?.focus();
  });
  notice.querySelector("[data-part=discard]")?.addEventListener("click", () => {
    sessionStorage.removeItem(prefix + key);
    notice.hidden = true;
  });
};

export default draft;
