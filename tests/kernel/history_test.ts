import assert from "node:assert/strict";
import { CellHistory } from "../../src/kernel/frontends.ts";
import { RawKernel } from "./raw_kernel.ts";

/** The cells that a request finds, as their numbers. */
function lines(history: CellHistory, request: Record<string, unknown>): unknown[] {
  return (history.reply(request)["history"] as unknown[][]).map(([, line]) => line);
}

Deno.test("history is answered like IPython's", () => {
  const history = new CellHistory();
  for (const [n, source] of ["a = 1", "b = 2", "a = 1", "%%sql\nSELECT 1"].entries()) history.add(n + 1, source);
  const cases: [request: Record<string, unknown>, expected: number[]][] = [
    [{ hist_access_type: "tail", n: 2 }, [3, 4]],
    [{ hist_access_type: "tail", n: 0 }, []],
    [{ hist_access_type: "tail", n: 100 }, [1, 2, 3, 4]],
    [{ hist_access_type: "tail", unique: true }, [2, 3, 4]],
    [{ hist_access_type: "search", pattern: "a*" }, [1, 3]],
    [{ hist_access_type: "search", pattern: "*SELECT*", n: 1 }, [4]],
    [{ hist_access_type: "search", pattern: "? = ?", n: 2, unique: true }, [2, 3]],
    [{ hist_access_type: "search", pattern: "a" }, []],
    [{ hist_access_type: "search" }, [1, 2, 3, 4]],
    [{ hist_access_type: "range", session: 0, start: 2, stop: 4 }, [2, 3]],
    [{ hist_access_type: "range", session: 1, start: -2, stop: null }, [3, 4]],
    [{ hist_access_type: "range", session: 7, start: 1 }, []],
    [{}, [1, 2, 3, 4]],
  ];
  for (const [request, expected] of cases) assert.deepEqual(lines(history, request), expected, JSON.stringify(request));
  assert.deepEqual(history.reply({ hist_access_type: "tail", n: 1, output: true }), {
    status: "ok",
    history: [[1, 4, ["%%sql\nSELECT 1", null]]],
  });
  for (let n = 5; n < 3000; n++) history.add(n, `${n}`);
  assert.equal(lines(history, { hist_access_type: "tail" }).length, 1000);
  for (let n = 3000; n < 3010; n++) history.add(n, "x".repeat(5e6));
  assert.deepEqual(lines(history, { hist_access_type: "tail" }), [3007, 3008, 3009]);
  // A matcher that backtracks would never end.
  assert.deepEqual(lines(history, { hist_access_type: "search", pattern: "*x".repeat(20) + "y" }), []);
});

Deno.test("the history has the cells as the person wrote them, and no internal cells", async () => {
  await using kernel = await RawKernel.start();
  using frontend = await kernel.frontend();
  await frontend.execute("await Promise.resolve(1)");
  await frontend.execute("%lsmagic");
  await frontend.execute("2", { silent: true });
  await frontend.execute("3", { store_history: false });
  await frontend.execute("throw new Error()");
  const tail = { hist_access_type: "tail", n: 10, raw: true, output: false };
  assert.deepEqual((await frontend.request("shell", "history_request", tail))["history"], [
    [1, 1, "await Promise.resolve(1)"],
    [1, 2, "%lsmagic"],
    [1, 3, "throw new Error()"],
  ]);
  const asked = Promise.withResolvers<Parameters<NonNullable<typeof frontend.onInput>>[0]>();
  frontend.onInput = asked.resolve;
  const running = frontend.execute('prompt("wait")', { allow_stdin: true });
  const { header } = await asked.promise;
  assert.equal(((await frontend.request("shell", "history_request", tail))["history"] as unknown[]).length, 3);
  frontend.connections.stdin.send(frontend.signer.make("input_reply", { value: "" }, header));
  await running;
});
