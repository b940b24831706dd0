import type { Spec } from "./vega_spec.ts";

/** One object laid over another, object by object; lists and all else are replaced. */
export function mergeSpec(under: Spec, over: Spec): Spec {
  const names = new Set([...Object.keys(under), ...Object.keys(over)]);
  return Object.fromEntries([...names].map((name) => {
    const [low, high] = [own(under, name), own(over, name)];
    return [name, high === undefined ? low : isObject(low) && isObject(high) ? mergeSpec(low, high) : high];
  }));
}

function own(spec: Spec, name: string): unknown {
  return Object.hasOwn(spec, name) ? spec[name] : undefined;
}

function isObject(value: unknown): value is Spec {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
