import { LakebaseError } from "../core/errors.ts";
import type { WithOrigin } from "./origin.ts";

/** The largest file that is read, in bytes. A larger file is something else under that name. */
const SIZE_LIMIT = 1_000_000;

/** The values of one section by their names in the file, such as `host` and `client_id`. */
export type ConfigProfile = ReadonlyMap<string, WithOrigin>;

/** The sections of a `~/.databrickscfg`. */
export interface Profiles {
  /** The path of the file. */
  path: string;
  /** The profiles by name, in the file's order. */
  sections: ReadonlyMap<string, ConfigProfile>;
  /** The profile that `databricks auth switch` has chosen. */
  chosen: string | undefined;
}

/**
 * Reads the profiles of `~/.databrickscfg`, or of the file that `DATABRICKS_CONFIG_FILE` names in the environment.
 *
 * @param env The process's environment.
 * @returns The profiles; no sections if the file does not exist or may not be read.
 * @throws {LakebaseError} `BAD_SETTING` for a file that others may write, because they could redirect a login to their host.
 */
export async function readProfiles(env: Record<string, string | undefined>): Promise<Profiles> {
  const home = env["HOME"] || env["USERPROFILE"] || "";
  const shownPath = env["DATABRICKS_CONFIG_FILE"] || "~/.databrickscfg";
  const path = shownPath.startsWith("~") ? home + shownPath.slice(1) : shownPath;
  try {
    const { isFile, size, mode } = await Deno.stat(path);
    if (!isFile || size > SIZE_LIMIT) throw unusable(path, isFile ? `it has ${size} bytes` : "it is not a file");
    if (mode !== null && (mode & 0o022) !== 0) {
      throw unusable(path, `other users can write to it; run: chmod go-w ${path}`);
    }
    return parseProfiles(await Deno.readTextFile(path), shownPath);
  } catch (cause) {
    if (cause instanceof LakebaseError) throw cause;
    const absent = cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotCapable;
    if (absent) return { path: shownPath, sections: new Map(), chosen: undefined };
    throw unusable(path, cause instanceof Error ? cause.message : String(cause), cause);
  }
}

function unusable(path: string, state: string, cause?: unknown): LakebaseError {
  const message = `Cannot use the profiles of "${path}": ${state}`;
  return new LakebaseError("BAD_SETTING", message, { cause, setting: "profile", origin: path });
}

/**
 * Parses profiles as the Databricks CLI does: `name = value` or `name : value`, comments that begin with `#` or `;`, quotes
 * around a value, a byte order mark. Lines above the first section belong to the section DEFAULT.
 */
export function parseProfiles(text: string, path: string): Profiles {
  const sections = new Map<string, Map<string, WithOrigin>>();
  let section = "DEFAULT";
  for (const [index, whole] of text.replace(/^\ufeff/, "").split(/\r\n|\r|\n/).entries()) {
    const line = whole.trim();
    if (line === "" || line.startsWith("#") || line.startsWith(";")) continue;
    if (line.startsWith("[") && line.includes("]")) {
      section = line.slice(1, line.indexOf("]")).trim();
      if (!sections.has(section)) sections.set(section, new Map());
      continue;
    }
    const mark = line.search(/[=:]/);
    if (mark < 1) continue;
    const values = sections.get(section) ?? new Map<string, WithOrigin>();
    const origin = { source: "profile", name: section, file: path, line: index + 1 } as const;
    const value = plainValue(line.slice(mark + 1).trim());
    if (value !== "") values.set(line.slice(0, mark).trim().toLowerCase(), { value, origin });
    sections.set(section, values);
  }
  const chosen = sections.get("__settings__")?.get("default_profile")?.value;
  return { path, sections: new Map([...sections].filter(([name]) => !/^__.*__$/.test(name))), chosen };
}

function plainValue(text: string): string {
  const quoted = /^(["'`])(.*)\1$/.exec(text);
  if (quoted !== null) return quoted[2]!;
  const comment = text.search(/\s[#;]/);
  return comment < 0 ? text : text.slice(0, comment).trim();
}

/** The profile that is used if none is named: the chosen one, DEFAULT, or the only one. */
export function defaultProfile({ sections, chosen }: Profiles): string | undefined {
  if (chosen !== undefined) return chosen;
  const names = [...sections].filter(([, values]) => values.size > 0).map(([name]) => name);
  return names.includes("DEFAULT") ? "DEFAULT" : names.length === 1 ? names[0] : undefined;
}
