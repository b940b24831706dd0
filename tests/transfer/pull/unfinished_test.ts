import assert from "node:assert/strict";
import { eventually } from "../../support/eventually.ts";
import { isFile } from "../../support/files.ts";
import { localTests } from "../../support/lakebase.ts";
import { namesIn, script } from "../../support/transfers.ts";
import { openTarget } from "../../../src/transfer/pull/target.ts";

const test = localTests();

const HEARD = "() => { console.log('heard'); heard.resolve(); }";
const LISTEN = `Deno.addSignalListener(SIGNAL, ${HEARD});`;
const ONCE = `process.once(SIGNAL, ${HEARD});`;
const STOP = `
  const controller = new AbortController();
  Deno.addSignalListener(SIGNAL, () => controller.abort(new Error("asked to stop")));
`;

/** The code of a program around its pull, and the outcome of both after a signal in the middle. */
interface Case {
  name: string;
  /** The code before the pull. */
  before?: string;
  options?: string;
  /** The code after the pull has begun. */
  during?: string;
  /** The exit code; `undefined` if the signal ends the program. */
  code?: number;
  /** The text on standard output. */
  output: string;
  /** The files in the folder at the end. */
  left: "whole" | "nothing" | "hidden";
}

const CASES: readonly Case[] = [
  { name: "that nobody listens to", output: "", left: "hidden" },
  { name: "that the program listens to", before: LISTEN, code: 0, output: "heard\nwhole\n", left: "whole" },
  { name: "that the program listens to once", before: ONCE, code: 0, output: "heard\nwhole\n", left: "whole" },
  {
    name: "that the program began to listen to during the pull",
    during: LISTEN,
    code: 0,
    output: "heard\nwhole\n",
    left: "whole",
  },
  {
    name: "that the program began to listen to once during the pull",
    during: ONCE,
    code: 0,
    output: "heard\nwhole\n",
    left: "whole",
  },
  {
    name: "that stops the pull",
    before: STOP,
    options: "{ ...untilHeard, signal: controller.signal }",
    code: 0,
    output: "asked to stop\n",
    left: "nothing",
  },
  {
    name: "at which the program exits",
    before: "Deno.addSignalListener(SIGNAL, () => Deno.exit(9));",
    code: 9,
    output: "",
    left: "nothing",
  },
  {
    name: "that comes a second time, when the program no longer listens",
    before: "process.once(SIGNAL, () => console.log('heard'));",
    during: "process.once(SIGNAL, () => setTimeout(() => Deno.kill(Deno.pid, SIGNAL)));",
    output: "heard\n",
    left: "hidden",
  },
];

/** All signals are handled alike, so two cases are enough for the others. */
const FIRST_CASES = CASES.slice(0, 2);

/**
 * The pull takes two seconds, and writes into a separate folder. On a busy machine the signal may come later than that, so
 * the pull does not end before it.
 */
const program = ({ before = "", options = "untilHeard", during = "" }: Case, folder: string, signal: Deno.Signal) => `
  import { connect } from "lakebase";
  import process from "node:process";
  const SIGNAL = "${signal}";
  const heard = Promise.withResolvers();
  const untilHeard = { onProgress: ({ done }) => done ? heard.promise : undefined };
  ${before}
  const db = await connect();
  const rows = db.sql\`SELECT n, CASE WHEN n % 500 = 0 THEN pg_sleep(0.01) END FROM generate_series(1, 100000) AS n\`;
  const pulling = rows.pull("${folder}/t.csv", ${options});
  pulling.then(() => console.log("whole"), (error) => console.log(error.message));
  while (Deno.readDirSync("${folder}").next().done) await new Promise((resolve) => setTimeout(resolve, 10));
  ${during}
  await Deno.writeTextFile("${folder}.ready", "");
  await pulling.catch(() => {});
  await db.close();`;

for (const [signal, cases] of [["SIGTERM", CASES], ["SIGINT", FIRST_CASES], ["SIGHUP", FIRST_CASES]] as const) {
  for (const testCase of cases) {
    const isQuick = signal === "SIGTERM" && testCase.before === STOP; // the others are programs of two seconds each, too
    const left = { whole: "a whole file", nothing: "nothing", hidden: "a hidden file" }[testCase.left];
    const name = `${isQuick ? "" : "(slow) "}a pull leaves ${left} after a ${signal} ${testCase.name}`;
    test({ name, ignore: Deno.build.os === "windows" }, async ({ local }) => {
      const folder = await Deno.makeTempDir({ prefix: "lakebase-pull-" });
      const child = script(program(testCase, folder, signal), { ...local.env, PGSSLROOTCERT: local.ca });
      const output = child.output();
      await eventually("the program waits for the signal", () => isFile(`${folder}.ready`));
      child.kill(signal);
      const { code, signal: endedBy, stdout, stderr } = await output;
      const errors = new TextDecoder().decode(stderr);
      assert.deepEqual(
        [endedBy, endedBy === null ? code : undefined],
        [testCase.code === undefined ? signal : null, testCase.code],
        errors,
      );
      assert.equal(new TextDecoder().decode(stdout), testCase.output);
      const names = { whole: ["t.csv"], nothing: [], hidden: [".t.csv.*.part"] }[testCase.left];
      assert.deepEqual(namesIn(folder).map((name) => name.replace(/[0-9a-f]{8}/, "*")), names);
      await Promise.all([Deno.remove(folder, { recursive: true }), Deno.remove(`${folder}.ready`)]);
    });
  }
}

Deno.test({
  name: "a pull removes the files that a killed pull left beside its target, and nothing else",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "lakebase-pull-" });
    const long = "x".repeat(50);
    const leftovers = [".t.csv.01234567.part", ".t.csv.89abcdef.part", `.${long.slice(0, 40)}.01234567.part`];
    const kept = [
      ".t.csv.0123456.part",
      ".t.csv.01234567.part.old",
      ".t.csv.part",
      ".u.csv.01234567.part",
      "t.csv.part",
    ];
    for (const name of [...leftovers, ...kept]) await Deno.writeTextFile(`${folder}/${name}`, "");
    await Deno.mkdir(`${folder}/.t.csv.77777777.part/in`, { recursive: true });
    await Deno.symlink(`${folder}/t.csv.part`, `${folder}/.t.csv.aaaaaaaa.part`);
    for await (const { name } of Deno.readDir(folder)) await Deno.utime(`${folder}/${name}`, 0, 0);
    await Deno.writeTextFile(`${folder}/.t.csv.bbbbbbbb.part`, "young");
    const before = namesIn(folder);
    const running = await openTarget(`${folder}/t.csv`, undefined);
    const hidden = namesIn(folder).find((name) => !before.includes(name));
    await Deno.utime(`${folder}/${hidden}`, 0, 0);
    const other = await openTarget(`${folder}/t.csv`, undefined);
    await other.abort(undefined, undefined);
    await running.commit(undefined);
    await (await openTarget(`${folder}/${long}`, undefined)).commit(undefined);
    const links = [".t.csv.aaaaaaaa.part", ".t.csv.bbbbbbbb.part"];
    assert.deepEqual(namesIn(folder), [...kept, ...links, "t.csv", long].toSorted());
    await Deno.remove(folder, { recursive: true });
  },
});
