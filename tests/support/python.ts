/** The repository's own Python environment, which `.ci/run` makes. */
const bundled = new URL("../../.cache/python/bin/python", import.meta.url);

const interpreters = new Map<string, string | undefined>();

/** A Python that has all of these modules: `LAKEBASE_TEST_PYTHON`, the repository's own, or the one on PATH. */
export function pythonWith(...modules: string[]): string | undefined {
  const key = modules.join(" ");
  if (!interpreters.has(key)) {
    interpreters.set(
      key,
      candidates().find((python) => imports(python, modules)),
    );
  }
  return interpreters.get(key);
}

function candidates(): string[] {
  const chosen = Deno.env.get("LAKEBASE_TEST_PYTHON");
  return chosen ? [chosen] : [decodeURIComponent(bundled.pathname), "python3"];
}

function imports(python: string, modules: string[]): boolean {
  const check = "import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in sys.argv[1:]))";
  try {
    const args = ["-c", check, ...modules];
    return new Deno.Command(python, { args, stdout: "null", stderr: "null" })
      .outputSync().success;
  } catch {
    return false;
  }
}
