import { parseScript } from "../../src/cli/script.ts";
import { makeStoppable } from "../../src/kernel/await_rewrite.ts";
import { editorReply } from "../../src/kernel/editor.ts";
import { UsageError } from "../../src/kernel/failure.ts";
import { rewriteCell } from "../../src/kernel/magic.ts";
import { sized } from "../support/random.ts";

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
      try { // what takes its square takes an hour
        read(text);
      } catch (error) {
        if (!(error instanceof UsageError)) throw error;
      }
    }
  }
});

Deno.test("a word of millions of letters is read as one word", () => {
  for (const part of ["𝒜", "\u0301", "a\u0301"]) {
    const text = `a${part.repeat(sized(5_000_000, 20_000_000) / part.length)}`;
    for (const read of [READERS["a %%sql cell"]!, READERS["a cell"]!, parseScript]) read(text);
  }
});
