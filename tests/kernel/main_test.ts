import assert from "node:assert/strict";
import { connectionFileText, loopbackInfo } from "../../src/kernel/connection_file.ts";
import { runKernel } from "../../src/kernel/main.ts";
import { contentOf, Signer } from "../../src/kernel/message.ts";
import { encodeMessage, greeting, GREETING_BYTES, ready } from "../../src/kernel/zmtp.ts";
import { eventually, inTime } from "../support/eventually.ts";
import { executeContent, type Frontend } from "./frontend.ts";
import { OURS, RawKernel, STOCK } from "./raw_kernel.ts";

/** The kernel of the tests that neither end it nor need a new one. */
let shared: RawKernel;
Deno.test.beforeAll(async () => void (shared = await RawKernel.start()));
Deno.test.afterAll(() => shared[Symbol.asyncDispose]());

/** A test with a separate frontend. The reading of the kernel's process outlives the test. */
function frontendTest(name: string, run: (frontend: Frontend) => Promise<void>): void {
  const fn = async () => {
    using frontend = await shared.frontend();
    await run(frontend);
  };
  Deno.test({ name, sanitizeOps: false, sanitizeResources: false, fn });
}

function types(outputs: { type: string }[]): string[] {
  return outputs.map(({ type }) => type);
}

/** Whether a cell has printed a line. */
function hasPrinted({ published }: Frontend, line: string): boolean {
  return published.some((envelope) => contentOf(envelope)["text"] === `${line}\n`);
}

/** The children of a process that run Deno's kernel. */
async function denoKernels(parent: number): Promise<number[]> {
  const { stdout } = await new Deno.Command("ps", { args: ["-eo", "pid=,ppid=,args="] }).output();
  return new TextDecoder().decode(stdout).split("\n")
    .filter((line) => line.includes(" jupyter --kernel ") && line.trim().split(/\s+/)[1] === String(parent))
    .map((line) => Number(line.trim().split(/\s+/)[0]));
}

async function isRunning(pid: number): Promise<boolean> {
  const { stdout } = await new Deno.Command("ps", { args: ["-o", "stat=", "-p", String(pid)] }).output();
  return /^[^Z]/.test(new TextDecoder().decode(stdout).trim());
}

Deno.test("(slow) 500 cells in a row lose no output, and no output comes after idle", async () => {
  await using kernel = await RawKernel.start();
  using frontend = await kernel.frontend();
  const cells: [code: string, types: string[]][] = [
    ["1", ["execute_input", "execute_result"]],
    ['console.log("a".repeat(200_000)); 2', ["execute_input", "stream", "execute_result"]],
    ['console.log("b"); throw new Error("c")', ["execute_input", "stream", "error"]],
    ['({ [Symbol.for("Jupyter.display")]: () => ({ "text/plain": "d".repeat(500_000) }) })', [
      "execute_input",
      "execute_result",
    ]],
    ["undefined", ["execute_input"]],
  ];
  for (let n = 0; n < 500; n++) {
    const [code, expected] = cells[n % cells.length]!;
    const { outputs } = await frontend.execute(code);
    assert.deepEqual(types(outputs), expected, `cell ${n}`);
  }
  await frontend.execute("undefined"); // a late message would arrive before this cell's
  assert.equal(frontend.invalid, 0);
  assert.ok(frontend.published.every(({ header }) => !header.msg_type?.startsWith("lakebase_")));
  assert.ok(!frontend.published.some(({ parent }) => parent.msg_id?.startsWith("internal")));
});

Deno.test("cells that were sent together keep their outputs, and a failure aborts the cells after it", async () => {
  await using kernel = await RawKernel.start();
  using frontend = await kernel.frontend();
  const runs = Array.from({ length: 50 }, (_, n) => frontend.execute(`console.log("${n}"); ${n}`));
  for (const [n, { outputs, reply }] of (await Promise.all(runs)).entries()) {
    assert.deepEqual(types(outputs), ["execute_input", "stream", "execute_result"]);
    assert.equal(outputs[1]!.content["text"], `${n}\n`);
    assert.equal(reply["execution_count"], n + 1);
  }
  const [failed, aborted, info] = await Promise.all([
    frontend.execute("throw new Error('x')"),
    frontend.execute("globalThis.ran = true"),
    frontend.request("shell", "kernel_info_request"),
  ]);
  assert.deepEqual([failed.reply["status"], aborted.reply["status"], info["status"]], ["error", "aborted", "ok"]);
  assert.deepEqual(types((await frontend.execute("globalThis.ran")).outputs), ["execute_input"]);
  const [, second] = await Promise.all([
    frontend.execute("throw new Error('x')", { stop_on_error: false }),
    frontend.execute("2"),
  ]);
  assert.equal(second.reply["status"], "ok");
});

frontendTest(
  "(slow) outputs of 100 MB arrive complete and in order, although the child writes statuses in the middle of them",
  async (frontend) => {
    const code = `for (let n = 0; n < 10; n++) {
    Deno.jupyter.broadcast("display_data", { data: { "text/plain": "x".repeat(8e6) }, metadata: {}, transient: {} });
    console.log("y".repeat(1e6));
  }
  "z".repeat(100)`;
    for (let round = 0; round < 2; round++) {
      const { outputs } = await frontend.execute(code);
      const expected = ["execute_input", ...Array.from({ length: 10 }, () => ["display_data", "stream"]).flat()];
      assert.deepEqual(types(outputs), [...expected, "execute_result"]);
    }
    const whole = await frontend.execute(
      '({ [Symbol.for("Jupyter.display")]: () => ({ "text/plain": "z".repeat(100e6) }) })',
    );
    assert.deepEqual(types(whole.outputs), ["execute_input", "execute_result"]);
    assert.equal((whole.outputs[1]!.content["data"] as Record<string, string>)["text/plain"]!.length, 100e6);
    assert.equal(frontend.invalid, 0);
  },
);

frontendTest("(slow) a frontend that reads slowly gets complete messages", async (frontend) => {
  // The cell ends while the child is still writing one of its outputs.
  const path = await Deno.makeTempFile();
  let reads = Promise.withResolvers<void>();
  frontend.reading = reads.promise;
  // The kernel disconnects a frontend that accepts nothing for five seconds, in which a busy machine does not run the cell.
  const readingOne = setInterval(() => {
    const { resolve } = reads;
    reads = Promise.withResolvers();
    frontend.reading = reads.promise;
    resolve();
  }, 1000);
  const running = frontend.execute(`for (let n = 0; n < 20; n++) {
    Deno.jupyter.broadcast("display_data", { data: { "text/plain": "x".repeat(8e6) }, metadata: {}, transient: {} });
  }
  await Deno.writeTextFile(${JSON.stringify(path)}, "the end");`);
  await eventually("the cell has ended", async () => (await Deno.stat(path)).size > 0);
  clearInterval(readingOne);
  reads.resolve();
  const { outputs } = await running;
  await Deno.remove(path);
  assert.deepEqual(types(outputs), ["execute_input", ...Array(20).fill("display_data")]);
  assert.equal(frontend.invalid, 0);
});

frontendTest("Deno has the internal function with which the prelude reports the end of each cell", async (frontend) => {
  // Without the function, the kernel asks for the report by a signal, and each cell takes 0.5 ms longer.
  const { outputs } = await frontend.execute('globalThis[Symbol.for("lakebase.kernel")].reportsDrawn');
  assert.match(JSON.stringify(outputs.at(-1)!.content), /true/);
});

frontendTest("a cell's start is published before its first output", async (frontend) => {
  const asked = Promise.withResolvers<Parameters<NonNullable<typeof frontend.onInput>>[0]>();
  frontend.onInput = asked.resolve;
  const running = frontend.execute('prompt("wait"); undefined', { allow_stdin: true });
  const received = () =>
    frontend.published.filter(({ parent }) => parent.msg_type === "execute_request").map(({ header }) =>
      header.msg_type
    );
  await eventually("the cell is published", () => received().length > 0);
  assert.deepEqual(received(), ["status", "execute_input"]);
  frontend.connections.stdin.send(frontend.signer.make("input_reply", { value: "" }, (await asked.promise).header));
  await running;
  assert.deepEqual(received(), ["status", "execute_input", "status"]);
});

frontendTest("(slow) an error that a cell broadcasts itself does not end the cell", async (frontend) => {
  const broadcast = `await Deno.jupyter.broadcast("error", { ename: "Error", evalue: "of its own", traceback: [] });
    for (let n = 0; n < 20; n++) console.log("x".repeat(4e6));`;
  const printed = Array(20).fill("stream");
  const failed = await frontend.execute(`${broadcast} throw new Error("the end")`);
  assert.deepEqual(types(failed.outputs), ["execute_input", ...printed, "error", "error"]);
  const worked = await frontend.execute(`${broadcast} 1`);
  assert.deepEqual(types(worked.outputs), ["execute_input", ...printed, "execute_result", "error"]);
});

frontendTest("a silent cell, a cell that prints later, and a cell of 5 MB publish their outputs", async (frontend) => {
  assert.deepEqual(types((await frontend.execute("console.log(1); 2", { silent: true })).outputs), [
    "execute_input",
    "stream",
  ]);
  const late = await frontend.execute('setTimeout(() => console.log("later"), 100); throw new Error("now")');
  await eventually("the late output has come", () => late.outputs.some(({ type }) => type === "stream"));
  const source = `"${"a".repeat(5e6)}".length`;
  const { outputs } = await frontend.execute(source);
  assert.equal(outputs[0]!.content["code"], source);
  assert.match(JSON.stringify(outputs[1]!.content), /5000000/);
});

Deno.test("a frontend sees the outputs of another frontend's cells, and only the frontend whose cell runs is asked for input", async () => {
  await using kernel = await RawKernel.start();
  using one = await kernel.frontend("one");
  using other = await kernel.frontend("other");
  one.onInput = (envelope) => {
    assert.equal(contentOf(envelope)["prompt"], "name?");
    one.connections.stdin.send(one.signer.make("input_reply", { value: "Ada" }, envelope.header));
  };
  let asked = 0;
  other.onInput = () => asked++;
  const { outputs } = await one.execute('prompt("name?")', { allow_stdin: true });
  assert.match(JSON.stringify(outputs.at(-1)!.content), /Ada/);
  assert.equal(asked, 0);
  other.published.length = 0;
  await one.execute("11 * 11");
  await eventually(
    "the other frontend hears the result",
    () => other.published.some(({ parts }) => new TextDecoder().decode(parts[3]).includes("121")),
  );
});

Deno.test("a prompt whose frontend goes away, or that Stop ends, returns null", async () => {
  await using kernel = await RawKernel.start();
  using one = await kernel.frontend("one");
  one.onInput = () => one.connections.stdin[Symbol.dispose]();
  const gone = await one.execute('String(prompt("name?"))', { allow_stdin: true });
  assert.match(JSON.stringify(gone.outputs.at(-1)!.content), /null/);
  using other = await kernel.frontend("other");
  other.onInput = () => other.request("control", "interrupt_request");
  const stopped = await other.execute('prompt("name?"); while (true) {}', { allow_stdin: true });
  assert.equal(stopped.reply["ename"], "Interrupted");
});

Deno.test("invalid bytes and messages are dropped and reported, and the kernel stays usable", async () => {
  await using kernel = await RawKernel.start();
  const { info } = kernel;
  const connected = async (channel: "shell" | "iopub") => {
    const conn = await Deno.connect({ hostname: info.ip, port: info.ports[channel] });
    await conn.write(greeting());
    await conn.write(ready(channel === "shell" ? "DEALER" : "SUB"));
    // Closing with unread bytes would reset the connection, and the bytes sent on it might be lost.
    for (let read = 0; read <= GREETING_BYTES;) read += await conn.read(new Uint8Array(512)) ?? Infinity;
    return conn;
  };
  using frontend = await kernel.frontend();
  frontend.connections.shell.send(new Signer("wrong").make("execute_request", executeContent("Deno.exit(9)")));
  frontend.connections.shell.send(encodeMessage([new TextEncoder().encode("hello")]));
  assert.equal((await frontend.execute("1")).reply["status"], "ok");
  for (
    const bytes of [
      Uint8Array.of(3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), // a frame of 16 exabytes
      frontend.signer.make("execute_request", executeContent("Deno.exit(9)")).subarray(0, 200), // cut in the middle
      new Uint8Array(5000).fill(0xee),
    ]
  ) {
    for (const channel of ["shell", "iopub"] as const) {
      using conn = await connected(channel);
      await conn.write(bytes);
    }
  }
  using http = await Deno.connect({ hostname: info.ip, port: info.ports.shell });
  await http.write(new TextEncoder().encode(`GET / HTTP/1.1\r\n${"x: y\r\n".repeat(20)}\r\n`));
  assert.equal((await frontend.execute("2")).reply["status"], "ok");
  await eventually("the kernel says what does not speak ZMTP", () => /does not speak ZMTP/.test(kernel.stderr));
  await eventually("the kernel says what is too long", () => /the maximum is/.test(kernel.stderr));
  assert.match(kernel.stderr, /dropped a message on shell with a wrong signature/);
  assert.match(kernel.stderr, /dropped a message on shell that is not a Jupyter message/);
});

Deno.test("(slow) a frontend that reads nothing is disconnected, and does not block the others", async () => {
  await using kernel = await RawKernel.start();
  const { info } = kernel;
  using frontend = await kernel.frontend();
  const stalled = await Deno.connect({ hostname: info.ip, port: info.ports.iopub });
  await stalled.write(greeting());
  await stalled.write(ready("SUB"));
  await stalled.write(encodeMessage([Uint8Array.of(1)]));
  const { reply, outputs } = await frontend.execute('for (let n = 0; n < 150; n++) console.log("x".repeat(1e6))');
  assert.equal(reply["status"], "ok");
  assert.equal(outputs.length, 151);
  assert.match(kernel.stderr, /a frontend that accepts no more output/);
  stalled.close();
});

Deno.test("a kernel that can't start fails with the reason", async () => {
  const run = async (...args: string[]) => {
    const [program, ...rest] = OURS;
    const { code, stderr } = await new Deno.Command(program!, { args: [...rest, ...args], stdin: "null" }).output();
    return [code, new TextDecoder().decode(stderr)] as const;
  };
  const folder = await Deno.makeTempDir();
  const info = loopbackInfo("secret");
  using taken = Deno.listen({ hostname: info.ip, port: info.ports.stdin });
  await Deno.writeTextFile(`${folder}/taken.json`, connectionFileText(info));
  await Deno.writeTextFile(`${folder}/bad.json`, "{");
  const cases: [args: string[], code: number, message: RegExp][] = [
    [[], 2, /expected one argument/],
    [["a", "b"], 2, /expected one argument/],
    [[`${folder}/none.json`], 1, /Cannot read the connection file/],
    [[`${folder}/bad.json`], 1, /it is not JSON/],
    [
      [`${folder}/taken.json`],
      1,
      new RegExp(`Cannot listen on port ${taken.addr.port} of ${info.ip} .stdin.: another program uses it`),
    ],
  ];
  for (const [args, code, message] of cases) {
    const [exitCode, stderr] = await run(...args);
    assert.equal(exitCode, code, stderr);
    assert.match(stderr, message);
    assert.ok(!stderr.includes("secret"));
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("(slow) a Deno process that does not start, or hangs, is killed and leaves nothing", async () => {
  const folder = await Deno.makeTempDir();
  const connectionFile = `${folder}/connection.json`;
  await Deno.writeTextFile(connectionFile, connectionFileText(loopbackInfo("secret")));
  const deno = `${folder}/deno`;
  await Deno.writeTextFile(deno, `#!/bin/sh\necho $$ > ${folder}/pid\nexec sleep 60\n`, { mode: 0o755 });
  await assert.rejects(runKernel({ connectionFile, deno, timeout: 5 }), /it has not answered for 5 s/);
  assert.equal(await isRunning(Number(await Deno.readTextFile(`${folder}/pid`))), false);
  await assert.rejects(runKernel({ connectionFile, deno: "/bin/false" }), /it ended at once/);
  await assert.rejects(runKernel({ connectionFile, deno: `${folder}/none` }), /none/);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a kernel can listen on the ports of one that has just ended", async () => {
  await using first = await RawKernel.start();
  using frontend = await first.frontend();
  await frontend.execute("1");
  await frontend.request("control", "shutdown_request", { restart: true });
  await first.process.status;
  await using second = await RawKernel.start({ info: first.info });
  using again = await second.frontend();
  assert.equal((await again.execute("1")).reply["execution_count"], 1);
});

Deno.test("a Deno process that dies fails its cell, and ends the kernel", async () => {
  for (
    const [code, how] of [["Deno.exit(3)", "with code 3"], ['Deno.kill(Deno.pid, "SIGKILL")', "by SIGKILL"]] as const
  ) {
    await using kernel = await RawKernel.start();
    using frontend = await kernel.frontend();
    const { reply, outputs } = await frontend.execute(code);
    assert.match(String(reply["evalue"]), new RegExp(`ended ${how}; its variables are lost`));
    // The child may die before it has echoed its input.
    assert.deepEqual(types(outputs).filter((type) => type !== "execute_input"), ["error"]);
    assert.equal((await kernel.process.status).code, 1);
  }
});

Deno.test("Stop ends the processes that a cell has started, and so does the end of the kernel", async () => {
  await using kernel = await RawKernel.start();
  using frontend = await kernel.frontend();
  const code = 'const { pid, status } = new Deno.Command("sleep", { args: ["600"] }).spawn();';
  const waiting = frontend.execute(`${code} console.log("started"); (await status).signal`);
  await eventually("the cell waits", () => hasPrinted(frontend, "started"));
  await frontend.request("control", "interrupt_request");
  // Its process ends at once, and then the wait for it: because of its signal, or on a busy machine because of Stop.
  assert.match(JSON.stringify((await inTime("the end of the cell", waiting)).outputs), /SIGINT|Interrupted/);
  const { outputs } = await frontend.execute("pid");
  const first = Number(/(?:m|plain":")(\d+)/.exec(JSON.stringify(outputs.at(-1)!.content))![1]);
  await eventually("the process of the cell has ended", async () => !await isRunning(first));
  const started = await frontend.execute('new Deno.Command("sleep", { args: ["600"] }).spawn().pid');
  const pid = Number(/(?:m|plain":")(\d+)/.exec(JSON.stringify(started.outputs.at(-1)!.content))![1]);
  assert.ok(await isRunning(pid));
  await frontend.request("control", "shutdown_request", { restart: false });
  await kernel.process.status;
  await eventually("the process has ended", async () => !await isRunning(pid));
});

Deno.test("shutdown is answered and leaves nothing", async () => {
  await using kernel = await RawKernel.start();
  using frontend = await kernel.frontend();
  const [child] = await denoKernels(kernel.process.pid);
  assert.deepEqual(await frontend.request("control", "shutdown_request", { restart: true }), {
    status: "ok",
    restart: true,
  });
  assert.equal((await kernel.process.status).code, 0);
  assert.equal(await isRunning(child!), false);
});

for (const signal of ["SIGTERM", "SIGHUP", "SIGKILL"] as const) {
  Deno.test(`${signal} leaves no orphan, even of a kernel that is in a loop`, async () => {
    await using kernel = await RawKernel.start();
    using frontend = await kernel.frontend();
    const [child] = await denoKernels(kernel.process.pid);
    assert.ok(child !== undefined && await isRunning(child));
    frontend.execute('console.log("started"); while (true) {}');
    await eventually("the loop runs", () => hasPrinted(frontend, "started"));
    kernel.process.kill(signal);
    const { code } = await kernel.process.status;
    assert.equal(code, { SIGTERM: 143, SIGHUP: 129, SIGKILL: 137 }[signal]);
    await eventually("the child has ended", async () => !await isRunning(child));
  });
}

Deno.test({
  name: "(slow) a kernel whose Jupyter was killed ends, and a kernel whose parent is not Jupyter goes on",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    for (const [env, lives] of [[{ JPY_PARENT_PID: "2" }, false], [{}, true]] as const) {
      // Here the shell plays Jupyter: it starts the kernel and ends.
      await using kernel = await RawKernel.start({ command: ["/bin/sh", "-c", '"$0" "$@" & wait', ...OURS], env });
      using frontend = await kernel.frontend();
      const { outputs } = await frontend.execute("Deno.ppid");
      const pid = Number(
        /\d+/.exec(JSON.stringify(outputs.at(-1)!.content).replace(/\\u001b\[\d+m/g, "").split("text/plain")[1]!)![0],
      );
      const [child] = await denoKernels(pid);
      kernel.process.kill("SIGKILL");
      if (lives) {
        // The kernel checks its parent once a second, which no event shows: this cell lasts for two checks.
        const { reply } = await frontend.execute("await new Promise((done) => setTimeout(done, 2500))");
        assert.equal(reply["status"], "ok");
        Deno.kill(pid, "SIGTERM");
      }
      await eventually("the process has ended", async () => !await isRunning(pid));
      await eventually("the child has ended", async () => !await isRunning(child!));
    }
  },
});

frontendTest(
  "Tab in an empty cell offers the person's names but no internal names of the kernel",
  async (frontend) => {
    await frontend.execute("await 1");
    for (const code of ["", "globalThis."]) {
      const { matches } = await frontend.request("shell", "complete_request", { code, cursor_pos: code.length }) as {
        matches: string[];
      };
      assert.ok(matches.length > 10, `${code}: ${matches.length}`);
      assert.deepEqual(matches.filter((match) => /^\s|waits|lakebase\./.test(match)), []);
    }
  },
);

frontendTest("is_complete distinguishes invalid code from complete code", async (frontend) => {
  const cases: [code: string, status: string][] = [
    ["let let = 1", "invalid"],
    ["let let", "invalid"],
    ["a b", "invalid"],
    ["const a = ", "incomplete"],
    ["f(1).", "incomplete"],
    ["1 + 1", "complete"],
    ["const n = %SQL SELECT 1", "complete"],
    ["%lsmagic", "complete"],
    ["const n: number = await f()", "complete"],
    ["if (a) {", "incomplete"],
    ["%%sql\nSELECT 1;", "complete"],
  ];
  for (const [code, status] of cases) {
    assert.equal((await frontend.request("shell", "is_complete_request", { code }))["status"], status, code);
  }
});

Deno.test("(slow) a shutdown waits a short time for the notebook's cleanup", async () => {
  const folder = await Deno.makeTempDir();
  for (
    const [work, code] of [[`await Deno.writeTextFile("${folder}/ended", "")`, "at once"], [
      "await new Promise(() => {})",
      "late",
    ]]
  ) {
    await using kernel = await RawKernel.start();
    using frontend = await kernel.frontend();
    await frontend.execute(`globalThis[Symbol.for("lakebase.end")] = async () => { ${work} }`);
    assert.equal((await frontend.request("control", "shutdown_request", { restart: false }))["status"], "ok", code);
    assert.equal((await kernel.process.status).code, 0);
  }
  assert.ok(await Deno.stat(`${folder}/ended`));
  await Deno.remove(folder, { recursive: true });
});

for (const [name, command] of [["Deno", STOCK], ["Deno + SQL", OURS]] as const) {
  Deno.test(`a failed DNS look-up is drawn with its code and without frames, in the kernel "${name}"`, async () => {
    await using kernel = await RawKernel.start({ command });
    using frontend = await kernel.frontend();
    await frontend.execute(`const { connect, sql } = await import("${import.meta.resolve("../../mod.ts")}");
      const target = { host: "nowhere.invalid", user: "a", password: "b", envFile: false };`);
    for (const cell of ["await connect(target)", "sql`SELECT 1`"]) {
      const { outputs } = await frontend.execute(cell);
      const error = outputs.find(({ type }) => type === "error")?.content as { traceback: string[] } | undefined;
      const text = error?.traceback.join("\n") ?? JSON.stringify(outputs);
      assert.match(text, /LakebaseError \[DNS\].*: Cannot .*"nowhere\.invalid"/);
      assert.doesNotMatch(text, /ext:|node_modules|\/npm\/|src\/net/);
    }
  });
}

Deno.test("the notice of a slow connection to this machine does not say that a compute is waking", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const closing = (async () => {
    for await (const connection of listener) connection.close(); // the client tries again, because the server may be starting
  })();
  await using kernel = await RawKernel.start();
  using frontend = await kernel.frontend();
  const { outputs } = await frontend.execute(
    `const { connect } = await import("${import.meta.resolve("../../mod.ts")}");
    const target = { host: "127.0.0.1", port: ${listener.addr.port}, sslMode: "disable", envFile: false };
    await connect({ ...target, user: "a", password: "b", connectTimeout: 5 });`,
  );
  const text = JSON.stringify(outputs.map(({ content }) => content));
  assert.match(text, /Trying again to reach 127\.0\.0\.1 \.\.\./);
  assert.match(text, /UNREACHABLE/);
  assert.doesNotMatch(text, /Wak/);
  listener.close();
  await closing;
});
