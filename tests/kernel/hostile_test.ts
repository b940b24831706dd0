import assert from "node:assert/strict";
import { parseScript } from "../../src/cli/script.ts";
import { makeStoppable } from "../../src/kernel/await_rewrite.ts";
import { editorReply } from "../../src/kernel/editor.ts";
import { UsageError } from "../../src/kernel/failure.ts";
import { MAX_NESTING, nestsTooDeep, rewriteCell } from "../../src/kernel/magic.ts";
import { sized } from "../support/random.ts";
import { RawKernel } from "./raw_kernel.ts";

/** Readers of text that a person typed, or that an editor sends while the person types. */
const READERS: Record<string, (text: string) => unknown> = {
  "a cell": (text) => rewriteCell(text, { module: "" }),
  "a %%sql cell": (text) => rewriteCell(`%%sql\n${text}`, { module: "" }),
  "a magic's header": (text) => rewriteCell(`%%sql ${text}`, { module: "" }),
  "a %sql line": (text) => rewriteCell(`%sql ${text}`, { module: "" }),
  "awaits": (text) => makeStoppable(text, 1),
  "completion": (code) => editorReply("complete_request", { code: `%%sql\n${code}`, cursor_pos: 100 }, undefined),
  "inspection": (code) => editorReply("inspect_request", { code: `%%sql\n${code}`, cursor_pos: 100 }, undefined),
  "is_complete": (code) => editorReply("is_complete_request", { code }, undefined),
  "a script": parseScript,
};

const PARTS = [
  ...[
    "a",
    "𝒜",
    "e\u0301",
    "\u0301",
    "1",
    "_$",
    "(",
    "[",
    "{",
    "`",
    "${",
    "`${",
    "'",
    "e'",
    '"',
    "\\",
    "$",
    "$a$",
    ";",
    "?",
  ],
  ...[
    "/",
    "/*",
    "*/",
    "--",
    "//",
    "\n",
    "\r",
    " ",
    "%",
    "%sql ",
    "%%sql\n",
    "<<",
    "await ",
    "async ",
    "=>",
    "::",
    "a.",
    "<a>",
  ],
];

Deno.test("(slow) the readers of cells take linear time on hostile text, and never throw", () => {
  for (const part of PARTS) {
    const text = part.repeat(Math.ceil(sized(100_000, 500_000) / part.length));
    for (const read of Object.values(READERS)) {
      try { // quadratic time would take an hour
        read(text);
      } catch (error) {
        if (!(error instanceof UsageError)) throw error;
      }
    }
  }
});

Deno.test("a word of millions of letters does not overflow the stack of a reader", () => {
  for (const part of ["𝒜", "\u0301", "a\u0301"]) {
    const text = `a${part.repeat(sized(5_000_000, 20_000_000) / part.length)}`;
    for (const read of [READERS["a %%sql cell"]!, READERS["a cell"]!, parseScript]) {
      assert.doesNotThrow(() => read(text));
    }
  }
});

function nested(depth: number, open = "[", close = "]"): string {
  return `let z = ${open.repeat(depth)}1${close.repeat(depth)}; 1`;
}

Deno.test("brackets that are nested too deep are distinguished from many brackets and from text", () => {
  assert.ok(nestsTooDeep(nested(MAX_NESTING + 1)));
  assert.ok(nestsTooDeep(nested(MAX_NESTING + 1, "`${", "}`")));
  assert.ok(!nestsTooDeep(nested(MAX_NESTING)));
  assert.ok(!nestsTooDeep("[1],".repeat(MAX_NESTING * 3)));
  assert.ok(!nestsTooDeep(`"${"[".repeat(MAX_NESTING * 3)}"`));
  assert.ok(nestsTooDeep("[".repeat(5e6)));
});

Deno.test("(slow) no cell is nested so deep or is so long that it ends the kernel", async () => {
  await using kernel = await RawKernel.start();
  using frontend = await kernel.frontend();
  await frontend.execute("let kept = 42");
  const cells: [code: string, says: RegExp][] = [
    [nested(1000), /^undefined$/],
    [`1${"+1".repeat(5000)}`, /^undefined$/],
    [`globalThis${".globalThis".repeat(20_000)};`, /call stack/],
    [nested(4000), /call stack/],
    [`await 1; ${nested(4000)}`, /call stack/],
    [nested(30_000), /nested too deep; the maximum is 5000/],
    [`%%sql\nSELECT \${${"(".repeat(30_000)}1${")".repeat(30_000)}}`, /nested too deep/],
  ];
  for (const [code, says] of cells) {
    assert.match(String((await frontend.execute(code)).reply["evalue"]), says, code.slice(0, 40));
    assert.match(JSON.stringify((await frontend.execute("kept")).outputs.at(-1)!.content), /42/);
  }
  const { outputs } = await frontend.execute('Deno.env.has("RUST_MIN_STACK")'); // not for what cells start
  assert.match(JSON.stringify(outputs.at(-1)!.content), /false/);
});
