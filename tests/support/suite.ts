const TESTS = new URL("../", import.meta.url);

/**
 * Loads the given test files, and all those of the given folders, so that they run in one process, one after the other,
 * and share servers that start slowly. You can also run a file by itself.
 */
export async function loadTests(...paths: string[]): Promise<void> {
  for (const path of paths) {
    const files = path.endsWith(".ts") ? [new URL(path, TESTS)] : testFiles(new URL(`${path}/`, TESTS));
    for (const file of files) await import(file.href);
  }
}

/**
 * Turns off the check for open calls in a suite whose files share servers: the servers work during each test, so an
 * open call may be theirs.
 */
export function allowServers(): void {
  Deno.test.sanitizer({ ops: false, resources: true });
}

function testFiles(folder: URL): URL[] {
  return [...Deno.readDirSync(folder)].toSorted((a, b) => a.name < b.name ? -1 : 1).flatMap(({ name, isDirectory }) =>
    isDirectory ? testFiles(new URL(`${name}/`, folder)) : name.endsWith("_test.ts") ? [new URL(name, folder)] : []
  );
}
