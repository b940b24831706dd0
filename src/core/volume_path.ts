/** A path in a Volume of Unity Catalog. */
export interface VolumePath {
  /** The full name of the Volume, such as `main.raw.landing`. */
  volume: string;
  /** The path of the Volume, such as `/Volumes/main/raw/landing`. */
  root: string;
  /** The names below the Volume; none for the Volume itself. */
  names: string[];
}

/** Whether a path begins as that of a Volume does. */
export function isVolumePath(path: string): boolean {
  return /^\/Volumes(?:\/|$)/.test(path);
}

/**
 * Reads the path of a Volume. Like a file system, it ignores empty parts and `.`.
 *
 * @returns What is wrong with the path, as the end of a sentence, where it is no path in a Volume.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual(readVolumePath("/Volumes/main/raw/landing/2025/trips.csv"), {
 *   volume: "main.raw.landing",
 *   root: "/Volumes/main/raw/landing",
 *   names: ["2025", "trips.csv"],
 * });
 * ```
 */
export function readVolumePath(path: string): VolumePath | string {
  const [, ...parts] = path.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) return "the path of a file in a Volume has no ..";
  if (!path.isWellFormed()) return "its name has half a character (a lone surrogate)";
  const [catalog, schema, volume, ...names] = parts;
  if (catalog === undefined || schema === undefined || volume === undefined) {
    return "the path of a Volume is /Volumes/catalog/schema/volume";
  }
  return { volume: `${catalog}.${schema}.${volume}`, root: `/Volumes/${catalog}/${schema}/${volume}`, names };
}
