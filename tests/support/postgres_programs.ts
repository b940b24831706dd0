import { isFile } from "./files.ts";

let found: string | undefined;

/** The folder of PostgreSQL's programs: that on PATH, the newest one of Debian, or the one that `pg_config` names. */
export function postgresPrograms(): string | undefined {
  return found ??= [...pathFolders(), ...debianFolders(), ...configuredFolder()].find((folder) =>
    ["initdb", "postgres", "createdb"].every((name) => isFile(`${folder}/${name}`))
  );
}

function pathFolders(): string[] {
  return (Deno.env.get("PATH") ?? "").split(":").filter((folder) => folder !== "");
}

function debianFolders(): string[] {
  try {
    const versions = [...Deno.readDirSync("/usr/lib/postgresql")].map((entry) => entry.name);
    return versions.sort((a, b) => Number(b) - Number(a)).map((version) => `/usr/lib/postgresql/${version}/bin`);
  } catch {
    return [];
  }
}

function configuredFolder(): string[] {
  try {
    const { success, stdout } = new Deno.Command("pg_config", { args: ["--bindir"], stderr: "null" }).outputSync();
    return success ? [new TextDecoder().decode(stdout).trim()] : [];
  } catch {
    return [];
  }
}
