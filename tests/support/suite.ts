const TESTS = new URL("../", import.meta.url);

/**
 * Loads test files, and all those of some folders, below `tests/`, so that they run in one process, one after the other: they
 * share what takes long to start. A file still runs by itself, too.
 */
export async function loadTests(...paths: string[]): Promise<void> {
  for (const path of paths) {
    const files = path.endsWith(".ts") ? [new URL(path, TESTS)] : testFiles(new URL(`${path}/`, TESTS));
    for (const file of files) await import(file.href);
  }
}

/**
 * Looks for no calls that a test leaves open, in a suite whose files share servers: these work beside each test, so that a call
 * which begins or ends in it may be theirs.
 */
export function allowServers(): void {
  Deno.test.sanitizer({ ops: false, resources: true });
}

function testFiles(folder: URL): URL[] {
  return [...Deno.readDirSync(folder)].toSorted((a, b) => a.name < b.name ? -1 : 1).flatMap(({ name, isDirectory }) =>
    isDirectory ? testFiles(new URL(`${name}/`, folder)) : name.endsWith("_test.ts") ? [new URL(name, folder)] : []
  );
}
