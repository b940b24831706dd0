/** Serves the files of a folder over HTTP. */
export interface Served extends AsyncDisposable {
  /** The address, with a slash at its end. */
  origin: string;
}

const TYPES: Readonly<Record<string, string>> = {
  ts: "text/typescript",
  js: "text/javascript",
  json: "application/json",
};

/**
 * Serves a checkout like a repository serves its raw files. At the end it removes what Deno has cached, because the
 * port, and so the address, differs each time.
 */
export function serveDir(root: string): Served {
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    const type = TYPES[pathname.slice(pathname.lastIndexOf(".") + 1)];
    if (type === undefined || pathname.includes("..")) return new Response(null, { status: 404 });
    const text = await Deno.readTextFile(root + pathname.slice(1)).catch(() => undefined);
    return new Response(text ?? null, { status: text === undefined ? 404 : 200, headers: { "content-type": type } });
  });
  const { port } = server.addr;
  return {
    origin: `http://127.0.0.1:${port}/`,
    async [Symbol.asyncDispose]() {
      await server.shutdown();
      await forget(port);
    },
  };
}

async function forget(port: number): Promise<void> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const { modulesCache } = JSON.parse(new TextDecoder().decode(stdout));
  await Deno.remove(`${modulesCache}/http/127.0.0.1_PORT${port}`, { recursive: true });
}
