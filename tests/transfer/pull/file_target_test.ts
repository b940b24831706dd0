import assert from "node:assert/strict";
import { cannotWrite } from "../../../src/transfer/pull/file_target.ts";
import { openTarget } from "../../../src/transfer/pull/target.ts";
import { nextTurn } from "../../support/eventually.ts";
import { errorOf } from "../../support/queries.ts";
import { namesIn } from "../../support/transfers.ts";

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "lakebase-target-" });
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const BYTES = new TextEncoder().encode("whole\n");

Deno.test("a file appears when it is complete, and replaces an older file with its mode", () =>
  inFolder(async (folder) => {
    const path = `${folder}/t.csv`;
    const first = await openTarget(path, undefined);
    await first.write(BYTES);
    assert.deepEqual(namesIn(folder).map((name) => name.replace(/[0-9a-f]{8}/, "*")), [".t.csv.*.part"]);
    await first.commit(undefined);
    assert.deepEqual(namesIn(folder), ["t.csv"]);
    await Deno.chmod(path, 0o640);
    const second = await openTarget(path, undefined);
    await second.write(new TextEncoder().encode("half"));
    assert.equal(await Deno.readTextFile(path), "whole\n");
    await second.abort("no more", undefined);
    assert.equal(await Deno.readTextFile(path), "whole\n");
    const third = await openTarget(path, undefined);
    await third.commit(undefined);
    assert.equal(await Deno.readTextFile(path), "");
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o640);
    assert.deepEqual(namesIn(folder), ["t.csv"]);
  }));

/** Permissions of the replaced file, and those of the new file from its first byte on. */
const MODES: [before: number, after: number][] = [
  [0o600, 0o600],
  [0o640, 0o640],
  [0o666, 0o666], // whatever the umask
  [0o4755, 0o755],
  [0o6777, 0o777],
];

Deno.test("the hidden file has the permissions of the file that it will replace, without the set-user-ID bit", () =>
  inFolder(async (folder) => {
    for (const [before, after] of MODES) {
      const path = `${folder}/t.csv`;
      await Deno.writeTextFile(path, "old");
      await Deno.chmod(path, before);
      const sink = await openTarget(path, undefined);
      const hidden = namesIn(folder).find((name) => name.endsWith(".part"))!;
      assert.equal((await Deno.stat(`${folder}/${hidden}`)).mode! & 0o7777, after);
      await sink.write(BYTES);
      await sink.commit(undefined);
      assert.equal((await Deno.stat(path)).mode! & 0o7777, after);
    }
  }));

Deno.test("a file that replaces the hidden file is neither changed nor used", () =>
  inFolder(async (folder) => {
    const [path, victim] = [`${folder}/t.csv`, `${folder}/victim`];
    await Deno.writeTextFile(victim, "secret", { mode: 0o600 });
    await Deno.writeTextFile(path, "old");
    await Deno.chmod(path, 0o666);
    const sink = await openTarget(path, undefined);
    const hidden = `${folder}/${namesIn(folder).find((name) => name.endsWith(".part"))}`;
    await Deno.remove(hidden);
    await Deno.symlink(victim, hidden);
    await sink.write(BYTES);
    const error = await errorOf(sink.commit(undefined));
    assert.match(error.message, /another program has replaced the hidden file beside it$/);
    await sink.abort(error.message, undefined);
    assert.equal((await Deno.stat(victim)).mode! & 0o777, 0o600);
    assert.deepEqual([await Deno.readTextFile(victim), await Deno.readTextFile(path)], ["secret", "old"]);
  }));

Deno.test("a link stays a link, and the file that it leads to is replaced", () =>
  inFolder(async (folder) => {
    await Deno.mkdir(`${folder}/there`);
    await Deno.writeTextFile(`${folder}/there/real.csv`, "old");
    await Deno.symlink(`${folder}/there/real.csv`, `${folder}/link.csv`);
    const sink = await openTarget(`${folder}/link.csv`, undefined);
    await sink.write(BYTES);
    await sink.commit(undefined);
    assert.equal(await Deno.readTextFile(`${folder}/there/real.csv`), "whole\n");
    assert.ok((await Deno.lstat(`${folder}/link.csv`)).isSymlink);
    assert.deepEqual(namesIn(`${folder}/there`), ["real.csv"]);
  }));

Deno.test("a hidden file can stand beside a file whose name has 255 bytes", () =>
  inFolder(async (folder) => {
    const name = `${"é".repeat(125)}.csv`;
    const sink = await openTarget(`${folder}/${name}`, undefined);
    await sink.commit(undefined);
    assert.deepEqual(namesIn(folder), [name]);
  }));

Deno.test("openTarget() says why a file can't be written", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/file`, "");
    const cases: readonly (readonly [path: string, message: RegExp])[] = [
      [folder, /: it is a folder; name a file in it/],
      [`${folder}/none/t.csv`, /there is no folder .*\/none; make it first$/],
      [`${folder}/file/t.csv`, /\/file is not a folder$/],
      [`${folder}/${"x".repeat(300)}.csv`, /x\.csv: the name is too long for the file system$/],
      [`${folder}/t.csv/`, /t\.csv\/: a name that ends in \/ is that of a folder; name a file$/],
      [`${folder}/file/`, /a name that ends in \/ is that of a folder/],
      [`${folder}/nowhere.csv`, /there is no folder .*\/none; make it first$/],
      [`${folder}/loop.csv`, /: Too many levels of symbolic links$/],
    ];
    await Deno.symlink("none/real.csv", `${folder}/nowhere.csv`);
    await Deno.symlink("loop.csv", `${folder}/loop.csv`);
    for (const [path, message] of cases) {
      const error = await errorOf(openTarget(path, undefined));
      assert.equal(error.code, "BAD_FILE");
      assert.match(error.message, message);
    }
    assert.deepEqual(namesIn(folder), ["file", "loop.csv", "nowhere.csv"]);
  }));

Deno.test("cannotWrite() gives the system's message as a sentence, without the name of the hidden file", () => {
  const failure = (text: string, code: string) =>
    Object.assign(new Error(`${text}: open 'ro/.t.csv.7cb77057.part'`), { code });
  const cases: [cause: unknown, message: string][] = [
    [
      failure("Read-only file system (os error 30)", "EROFS"),
      "the file system is read-only; choose a path on another one",
    ],
    [failure("File name too long (os error 36)", "ENAMETOOLONG"), "the name is too long for the file system"],
    [failure("No space left on device (os error 28)", "ENOSPC"), "the disk is full"],
    [failure("Disk quota exceeded (os error 122)", "EDQUOT"), "the disk quota is used up"],
    [failure("File too large (os error 27)", "EFBIG"), "the file is too large for the file system"],
    [failure("Is a directory (os error 21)", "EISDIR"), "there is a folder of that name"],
    [failure("Input/output error (os error 5)", "EIO"), "Input/output error"],
    [new Deno.errors.NotFound("x"), "there is no folder ro; make it first"],
    [new Deno.errors.NotADirectory("x"), "ro is not a folder"],
    [new Deno.errors.PermissionDenied("x"), "no permission to write there"],
    ["thrown text", "thrown text"],
  ];
  for (const [cause, message] of cases) {
    const error = cannotWrite("ro/t.csv", cause);
    assert.deepEqual([error.code, error.message], ["BAD_FILE", `Cannot write ro/t.csv: ${message}`]);
  }
});

Deno.test("a removed hidden file is not reported as a missing folder", () =>
  inFolder(async (folder) => {
    const sink = await openTarget(`${folder}/t.csv`, undefined);
    await sink.write(BYTES);
    await Deno.remove(`${folder}/${namesIn(folder)[0]}`);
    const error = await errorOf(sink.commit(undefined));
    assert.match(error.message, /t\.csv: another program has removed the hidden file beside it$/);
    await sink.abort(error, undefined);
    assert.deepEqual(namesIn(folder), []);
  }));

Deno.test("a pull to a link that leads to no file makes that file", () =>
  inFolder(async (folder) => {
    await Deno.mkdir(`${folder}/there`);
    await Deno.symlink(`${folder}/there/absolute.csv`, `${folder}/a.csv`);
    await Deno.symlink("there/relative.csv", `${folder}/b.csv`);
    await Deno.symlink("b.csv", `${folder}/chain.csv`);
    await Deno.symlink("there", `${folder}/inside`);
    await Deno.symlink("up.csv", `${folder}/there/link.csv`);
    const cases = [["a.csv", "absolute.csv"], ["chain.csv", "relative.csv"], ["inside/link.csv", "up.csv"]] as const;
    for (const [link, made] of cases) {
      const sink = await openTarget(`${folder}/${link}`, undefined);
      await sink.write(BYTES);
      await sink.commit(undefined);
      assert.ok((await Deno.lstat(`${folder}/${link}`)).isSymlink, link);
      assert.equal(await Deno.readTextFile(`${folder}/there/${made}`), "whole\n");
    }
    assert.deepEqual(namesIn(folder), ["a.csv", "b.csv", "chain.csv", "inside", "there"]);
    assert.deepEqual(namesIn(`${folder}/there`), ["absolute.csv", "link.csv", "relative.csv", "up.csv"]);
  }));

Deno.test({
  name: "a pull to a pipe that nobody reads waits until the signal",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      const pipe = `${folder}/pipe`;
      assert.ok((await new Deno.Command("mkfifo", { args: [pipe] }).output()).success);
      const reason = new Error("enough");
      const controller = new AbortController();
      const opening = openTarget(pipe, controller.signal);
      opening.catch(() => {});
      await nextTurn();
      controller.abort(reason);
      await assert.rejects(opening, reason);
      const [sink, read] = await Promise.all([openTarget(pipe, undefined), Deno.open(pipe)]); // the pipe still works
      await sink.write(BYTES);
      await sink.commit(undefined);
      assert.equal(await new Response(read.readable).text(), "whole\n");
    }),
});

Deno.test({
  name: "openTarget() reports a missing permission",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const error = await errorOf(openTarget("/sys/t.csv", undefined)); // nobody may make a file there, root neither
    assert.deepEqual([error.code, error.message], [
      "BAD_FILE",
      "Cannot write /sys/t.csv: no permission to write there",
    ]);
  },
});

Deno.test({
  name: "a full disk is named in the error, and a device is written to directly",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const full = await openTarget("/dev/full", undefined);
    const error = await errorOf(full.write(BYTES));
    assert.deepEqual([error.code, error.message], ["BAD_FILE", "Cannot write /dev/full: the disk is full"]);
    await full.abort(error, undefined);
    const nothing = await openTarget("/dev/null", undefined);
    await nothing.write(BYTES);
    await nothing.commit(undefined);
    assert.ok((await Deno.stat("/dev/null")).isCharDevice);
  },
});
