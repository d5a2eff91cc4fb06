/** Finds `data-behavior="copy confirm"` and hands the element to the module of that name, once. */

/** A behavior is handed its element; what it returns is called when the element leaves the page. */
export type Behavior = (element: HTMLElement) => void | (() => void);
type Module = { default: Behavior };

// Small ones travel with the page; what stands in large/ is fetched by the first page that shows it.
const small = import.meta.glob<Module>("./behaviors/*.ts", { eager: true });
const large = import.meta.glob<Module>("./behaviors/large/*.ts");

const attached = new WeakMap<HTMLElement, Map<string, (() => void) | undefined>>();

async function behaviorNamed(name: string): Promise<Behavior> {
  const here = small[`./behaviors/${name}.ts`];
  if (here) return here.default;
  const there = large[`./behaviors/large/${name}.ts`];
  if (!there) throw new Error(`No behavior is named "${name}".`);
  return (await there()).default;
}

async function attach(element: HTMLElement, name: string): Promise<void> {
  const known = attached.get(element) ?? new Map<string, (() => void) | undefined>();
  attached.set(element, known);
  if (known.has(name)) return;
  known.set(name, undefined);
  // Small behaviors must not wait a tick: what they change should be changed before the first paint.
  const ready = small[`./behaviors/${name}.ts`]?.default;
  known.set(name, (ready ?? (await behaviorNamed(name)))(element) || undefined);
}

/** Attaches every behavior in `root`, itself included. Safe to call again for the same elements. */
export function attachAll(root: ParentNode & Node): void {
  const elements = [...root.querySelectorAll<HTMLElement>("[data-behavior]")];
  if (root instanceof HTMLElement && root.dataset.behavior) elements.unshift(root);
  for (const element of elements) {
    for (const name of element.dataset.behavior?.split(/\s+/).filter(Boolean) ?? []) {
      attach(element, name).catch((error: unknown) => console.error(error));
    }
  }
}

/** Calls what the behaviors of `element` returned. */
export function detachAll(element: HTMLElement): void {
  for (const detach of attached.get(element)?.values() ?? []) detach?.();
  attached.delete(element);
}
