import { filesBelow, ROOT } from "./files.ts";

/**
 * Loads the given test files, and all those of the given folders, so that they run in one process, one after the other,
 * and share servers that start slowly. You can also run a file by itself.
 */
export async function loadTests(...paths: string[]): Promise<void> {
  for (const path of paths) {
    const files = path.endsWith(".ts") ? [`${ROOT}tests/${path}`] : filesBelow(`${ROOT}tests/${path}`, "_test.ts");
    for (const file of files) await import(`file://${file}`);
  }
}

/**
 * Turns off the check for open calls in a suite whose files share servers: the servers work during each test, so an
 * open call may be theirs.
 */
export function allowServers(): void {
  Deno.test.sanitizer({ ops: false, resources: true });
}
