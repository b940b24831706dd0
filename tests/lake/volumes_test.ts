import assert from "node:assert/strict";
import { connect, LakebaseError } from "../../mod.ts";
import { Workspace } from "../../src/auth/workspace.ts";
import { readVolumePath } from "../../src/core/file_store.ts";
import { Volumes, type VolumesOptions } from "../../src/lake/volumes.ts";
import type { LocalLakebase } from "../../src/local/mod.ts";
import { nextTurn } from "../support/eventually.ts";
import { localTests, workspaceOf } from "../support/lakebase.ts";

const folder = await Deno.makeTempDir({ prefix: "lakebase-volumes-" });
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));
const ROOT = "/Volumes/main/raw/landing";
const DISK = `${folder}/main/raw/landing`;
const localTest = localTests({ volumesDir: folder, workspaceId: "77" });

/** A test of the store, in a Volume that is empty at the start. */
function volumeTest(
  name: string,
  run: (test: { local: LocalLakebase; open: (options?: VolumesOptions) => Volumes }) => Promise<void>,
): void {
  localTest(name, async ({ local }) => {
    await Deno.remove(DISK, { recursive: true }).catch(() => {}); // the first test has none
    await Deno.mkdir(DISK, { recursive: true });
    const client = { config: { ...workspaceOf(local).config, workspaceId: "77" } };
    const workspace = new Workspace({ client, limit: 2000 });
    await run({ local, open: (options) => new Volumes(workspace, options) });
  });
}

const bytes = (text: string) => new TextEncoder().encode(text);
const onDisk = () => [...Deno.readDirSync(DISK)].map(({ name }) => name).sort();

async function read(volumes: Volumes, path: string): Promise<string> {
  const { chunks, close } = await volumes.open(path);
  const text = await new Response(ReadableStream.from(chunks)).text();
  await close();
  return text;
}

async function write(volumes: Volumes, path: string, ...pieces: Uint8Array[]): Promise<void> {
  const writer = volumes.create(path, await volumes.stat(path));
  for (const piece of pieces) await writer.write(piece);
  await writer.close();
}

async function failure(work: Promise<unknown>): Promise<LakebaseError> {
  const error = await work.then(() => assert.fail("the work did not fail"), (error) => error);
  assert.ok(error instanceof LakebaseError, Deno.inspect(error));
  assert.doesNotMatch(Deno.inspect(error, { depth: 9 }) + error.stack, /dapi[0-9a-f]{8}|Bearer \S{8}/);
  return error;
}

Deno.test("the path of a Volume is read as a file system would", () => {
  const place = { volume: "main.raw.landing", root: ROOT };
  assert.deepEqual(readVolumePath(ROOT), { ...place, names: [] });
  assert.deepEqual(readVolumePath(`${ROOT}//a/./b/`), { ...place, names: ["a", "b"] });
  for (const path of ["/Volumes", "/Volumes/main/raw", "/Volumes//main//raw/"]) {
    assert.equal(readVolumePath(path), "the path of a Volume is /Volumes/catalog/schema/volume");
  }
  assert.match(readVolumePath(`${ROOT}/../other`) as string, /has no \.\./);
  assert.match(readVolumePath(`${ROOT}/\ud800`) as string, /lone surrogate/);
});

for (
  const name of [
    "plain.csv",
    "a b.csv",
    "#1.csv",
    "100%.csv",
    "why?.csv",
    "😀 é.csv",
    "a%2Fb.csv",
    "a+b&c=d;e.csv",
    "\\.csv",
  ]
) {
  volumeTest(`a file named ${name} is written, listed, read and removed`, async ({ open }) => {
    const volumes = open();
    await write(volumes, `${ROOT}/sub/${name}`, bytes("id\n"), bytes("1\n"));
    assert.equal(await read(volumes, `${ROOT}/sub/${name}`), "id\n1\n");
    assert.deepEqual((await volumes.list(`${ROOT}/sub`)).map(({ name, size }) => [name, size]), [[name, 5]]);
    assert.deepEqual([...Deno.readDirSync(`${DISK}/sub`)].map(({ name }) => name), [name]);
    await volumes.remove(`${ROOT}/sub/${name}`);
    assert.equal(await volumes.stat(`${ROOT}/sub/${name}`), undefined);
  });
}

volumeTest("stat distinguishes a file, a folder, a missing path and an empty Volume", async ({ open }) => {
  const volumes = open();
  assert.equal((await volumes.stat(ROOT))?.isFolder, true);
  assert.deepEqual(await volumes.list(ROOT), []);
  await write(volumes, `${ROOT}/a/b.csv`, bytes("12345"));
  const file = (await volumes.stat(`${ROOT}/a/b.csv`))!;
  assert.deepEqual([file.name, file.isFolder, file.size], ["b.csv", false, 5]);
  assert.equal((await volumes.stat(`${ROOT}/a`))?.isFolder, true);
  assert.equal((await volumes.stat(`${ROOT}/a/`))?.isFolder, true);
  assert.equal(await volumes.stat(`${ROOT}/a/b.csv/`), undefined);
  assert.equal(await volumes.stat(`${ROOT}/c`), undefined);
  assert.deepEqual(await volumes.list(`${ROOT}/c`), []);
  const [listed] = await volumes.list(`${ROOT}/a`);
  assert.deepEqual(listed, file); // a list has the same time, so that a changed file is noticed
  await volumes.makeFolder(`${ROOT}/d/e`);
  await volumes.makeFolder(`${ROOT}/d/e`);
  await assert.rejects(volumes.removeFolder(`${ROOT}/d`), { code: "BAD_FILE", message: /not empty/ });
  await volumes.removeFolder(`${ROOT}/d/e`);
  await volumes.removeFolder(`${ROOT}/d`);
  await volumes.removeFolder(`${ROOT}/d`);
  await volumes.remove(`${ROOT}/never`);
});

volumeTest("a missing Volume is named before anything is written", async ({ open }) => {
  const error = await failure(open().stat("/Volumes/main/raw/nope/x.csv"));
  assert.equal(error.code, "BAD_FILE");
  assert.match(error.message, /there is no Volume main\.raw\.nope.*CREATE VOLUME main\.raw\.nope/);
  await assert.rejects(open().stat("/Volumes/main/x.csv"), {
    code: "BAD_FILE",
    message: /\/Volumes\/catalog\/schema\/volume/,
  });
});

volumeTest(
  "a folder of several pages is listed completely, and a list without an end is refused",
  async ({ local, open }) => {
    await Promise.all(Array.from({ length: 1200 }, (_, n) => Deno.writeTextFile(`${DISK}/${n}.csv`, "")));
    assert.equal((await open().list(ROOT)).length, 1200);
    const body = JSON.stringify({ contents: [{ path: `${ROOT}/a`, name: "a" }], next_page_token: "again" });
    local.faults.workspace("GET */directories/*", { body });
    assert.match((await failure(open().list(ROOT))).message, /does not end/);
    const names = ["a/b", "..", ".", ""];
    local.faults.reset();
    local.faults.workspace("GET */directories/*", {
      body: JSON.stringify({ contents: names.map((name) => ({ name })) }),
    });
    assert.deepEqual(await open().list(ROOT), []);
  },
);

volumeTest(
  "a file does not exist before it is complete, and an existing file stays unchanged until then",
  async ({ open }) => {
    const volumes = open();
    const first = volumes.create(`${ROOT}/t.csv`, undefined);
    await first.write(bytes("half"));
    assert.deepEqual(onDisk(), []);
    assert.equal(await first.abort(), true);
    assert.deepEqual(onDisk(), []);
    await write(volumes, `${ROOT}/t.csv`, bytes("old"));
    const second = volumes.create(`${ROOT}/t.csv`, await volumes.stat(`${ROOT}/t.csv`));
    await second.write(bytes("new"));
    assert.equal(await read(volumes, `${ROOT}/t.csv`), "old");
    await second.abort();
    assert.equal(await read(volumes, `${ROOT}/t.csv`), "old");
    await write(volumes, `${ROOT}/t.csv`, bytes("new"));
    assert.equal(await read(volumes, `${ROOT}/t.csv`), "new");
    await write(volumes, `${ROOT}/empty`);
    assert.equal((await volumes.stat(`${ROOT}/empty`))?.size, 0);
  },
);

volumeTest("a file that another program has written meanwhile is not replaced or removed", async ({ open }) => {
  const volumes = open();
  const writer = volumes.create(`${ROOT}/t.csv`, undefined);
  await Deno.writeTextFile(`${DISK}/t.csv`, "another's");
  const error = await failure((async () => {
    await writer.write(bytes("mine"));
    await writer.close();
  })());
  assert.equal(error.code, "BAD_FILE");
  assert.match(error.message, /a file of that name exists now; it was not replaced/);
  await writer.abort();
  assert.equal(await Deno.readTextFile(`${DISK}/t.csv`), "another's");
});

volumeTest("a file over the limit is refused at the limit, and leaves nothing behind", async ({ open }) => {
  const limit = 1024 ** 3 / 1024; // 1 MiB
  const volumes = open({ limit });
  const writer = volumes.create(`${ROOT}/t.csv`, undefined);
  await writer.write(new Uint8Array(limit));
  const error = await failure(writer.write(Uint8Array.of(1)));
  assert.equal(error.code, "BAD_FILE");
  assert.match(error.message, /more bytes than a file of a Volume may have, .* GiB; .*rowsPerFile.*\{n\}/s);
  await writer.abort();
  assert.deepEqual(onDisk(), []);
  await write(volumes, `${ROOT}/t.csv`, new Uint8Array(limit));
  assert.equal((await volumes.stat(`${ROOT}/t.csv`))?.size, limit);
});

const ANSWERS: readonly (readonly [status: number, code: string, message: RegExp])[] = [
  [403, "BAD_FILE", /this login may not write it; it needs the privilege WRITE VOLUME/],
  [404, "BAD_FILE", /there is no such Volume/],
  [413, "BAD_FILE", /smaller than that; write several files.*rowsPerFile/],
  [429, "WORKSPACE_UNAVAILABLE", /too many requests/],
  [503, "WORKSPACE_UNAVAILABLE", /the workspace failed/],
  [507, "BAD_FILE", /the storage of the Volume is full/],
  [302, "WORKSPACE_UNAVAILABLE", /redirect/],
  [401, "WORKSPACE_AUTH", /Cannot log in to the workspace/],
];

for (const [status, code, message] of ANSWERS) {
  const passes = status === 429 || status === 503;
  const how = passes ? "is sent again until it fails" : "fails at once";
  volumeTest(`an upload that is answered with ${status} ${how}, with ${code}`, async ({ local, open }) => {
    await Deno.writeTextFile(`${DISK}/t.csv`, "old");
    const volumes = open();
    const writer = volumes.create(`${ROOT}/t.csv`, await volumes.stat(`${ROOT}/t.csv`));
    local.faults.workspace("PUT */files/*", { status });
    const before = local.requests.length;
    const error = await failure((async () => {
      await writer.write(new Uint8Array(100));
      await writer.close();
    })());
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.match(error.message, new RegExp(`^Cannot (?:write ${ROOT}/t.csv|log in)`));
    const attempts = local.requests.slice(before).filter(({ method }) => method === "PUT").length;
    assert.ok(passes ? attempts > 1 : attempts === 1, String(attempts));
    local.faults.reset();
    await writer.abort();
    assert.equal(await Deno.readTextFile(`${DISK}/t.csv`), "old");
  });
}

const PASSING: readonly Parameters<LocalLakebase["faults"]["workspace"]>[1][] = [
  { status: 429, times: 1 },
  { status: 429, retryAfter: 1, times: 1 },
  { status: 503, times: 2 },
  { after: 1000, times: 1 },
  { after: 2_500_000, times: 1 },
  { answer: "lost", times: 1 },
];

for (const fault of PASSING) {
  volumeTest(`an upload is sent again from its start after ${JSON.stringify(fault)}`, async ({ local, open }) => {
    const volumes = open();
    const pieces = Array.from({ length: 48 }, (_, n) => new Uint8Array(65_536).fill(n));
    for (const round of ["new", "replaced"]) {
      local.faults.workspace("PUT */files/*", fault);
      await write(volumes, `${ROOT}/t.bin`, ...pieces);
      const stored = await Deno.readFile(`${DISK}/t.bin`);
      assert.equal(stored.length, 48 * 65_536, round);
      assert.ok(stored.every((byte, at) => byte === at >> 16), round);
      assert.deepEqual(onDisk(), ["t.bin"]);
    }
  });
}

volumeTest(
  "another program's file that appears between two attempts to upload is not taken for the upload",
  async ({ local, open }) => {
    const volumes = open();
    const writer = volumes.create(`${ROOT}/t.csv`, undefined);
    local.faults.workspace("PUT */files/*", { status: 503, times: 1 });
    await writer.write(bytes("mine"));
    await Deno.writeTextFile(`${DISK}/t.csv`, "another's");
    const error = await failure(writer.close());
    assert.match(error.message, /a file of that name exists now; it was not replaced/);
    assert.equal(await writer.abort(), false); // an upload can't know whether the file is its own
    assert.equal(await Deno.readTextFile(`${DISK}/t.csv`), "another's");
  },
);

volumeTest("an upload of more than 8 MiB whose connection breaks is not sent again, and leaves nothing", async ({
  local,
  open,
}) => {
  const volumes = open();
  const writer = volumes.create(`${ROOT}/t.csv`, undefined);
  local.faults.workspace("PUT */files/*", { after: 10_000_000, times: 1 });
  const before = local.requests.length;
  const error = await failure((async () => {
    for (let n = 0; n < 200; n++) await writer.write(new Uint8Array(65_536));
    await writer.close();
  })());
  assert.equal(error.code, "WORKSPACE_UNAVAILABLE");
  assert.match(error.message, new RegExp(`^Cannot write ${ROOT}/t.csv: `));
  assert.equal(local.requests.slice(before).filter(({ method }) => method === "PUT").length, 1);
  assert.equal(await writer.abort(), true);
  assert.deepEqual(onDisk(), []);
});

volumeTest("reading continues where its connection broke", async ({ local, open }) => {
  const text = Array.from({ length: 100_000 }, (_, n) => `${n}\n`).join("");
  await Deno.writeTextFile(`${DISK}/t.csv`, text);
  const volumes = open();
  local.faults.workspace("GET */files/*", { after: 100_000, times: 3 });
  assert.equal(await read(volumes, `${ROOT}/t.csv`), text);
  const ranges = await volumes.openRanges(`${ROOT}/t.csv`);
  local.faults.workspace("GET */files/*", { after: 10, times: 2 });
  assert.equal(new TextDecoder().decode(await ranges.read(100, 50)), text.slice(100, 150));
  assert.equal((await ranges.read(ranges.size - 3, 50)).length, 3);
  assert.equal((await ranges.read(ranges.size, 50)).length, 0);
});

volumeTest("reading a file that changes meanwhile fails", async ({ local, open }) => {
  await Deno.writeTextFile(`${DISK}/t.csv`, "x".repeat(300_000));
  const volumes = open();
  const ranges = await volumes.openRanges(`${ROOT}/t.csv`);
  local.faults.workspace("GET */files/*", { after: 1000, times: 1 });
  const { chunks, close } = await volumes.open(`${ROOT}/t.csv`);
  await Deno.writeTextFile(`${DISK}/t.csv`, "y".repeat(300_001));
  const error = await failure((async () => {
    for await (const _ of chunks);
  })());
  assert.match(error.message, /it changed while it was read/);
  await close();
  assert.match((await failure(ranges.read(0, 10))).message, /it changed while it was read/);
});

volumeTest("a read is sent again after 429 and 503, and ends with the signal", async ({ local, open }) => {
  await Deno.writeTextFile(`${DISK}/t.csv`, "1");
  local.faults.workspace("* */files/*", { status: 429, times: 1 });
  local.faults.workspace("* */files/*", { status: 503, times: 1 });
  assert.equal((await open().stat(`${ROOT}/t.csv`))?.size, 1);
  local.faults.workspace("GET */files/*", { answer: "never" });
  const stop = new AbortController();
  const reading = open({ signal: stop.signal }).open(`${ROOT}/t.csv`);
  stop.abort(new Error("stopped"));
  await assert.rejects(reading, { message: "stopped" });
});

volumeTest(
  "after an upload whose answer is lost, the file's state decides whether the upload has failed",
  async ({ local, open }) => {
    const volumes = open();
    const lost = () => local.faults.workspace("PUT */files/*", { answer: "lost", times: 1 });
    lost();
    await write(volumes, `${ROOT}/new.csv`, bytes("12345"));
    lost();
    await write(volumes, `${ROOT}/new.csv`, bytes("123456789"));
    assert.equal(await read(volumes, `${ROOT}/new.csv`), "123456789");
    local.faults.workspace("PUT */files/*", { answer: "reset" });
    const error = await failure(write(volumes, `${ROOT}/new.csv`, bytes("1")));
    assert.equal(error.code, "WORKSPACE_UNAVAILABLE");
    assert.match(error.message, /^Cannot write .*new\.csv: Cannot reach the workspace/);
    local.faults.reset();
    assert.equal(await read(volumes, `${ROOT}/new.csv`), "123456789");
  },
);

volumeTest("small requests are sent at most five at a time", async ({ local, open }) => {
  const volumes = open();
  local.faults.latency = 20;
  const before = local.requests.length;
  let most = 0;
  const asking = Promise.all(Array.from({ length: 30 }, (_, n) => volumes.stat(`${ROOT}/${n}`)));
  for (let done = false; !done;) {
    most = Math.max(most, local.requests.slice(before).filter(({ status }) => status === 0).length);
    done = await Promise.race([
      asking.then(() => true),
      nextTurn().then(() => false),
    ]);
  }
  assert.ok(most > 1 && most <= 10, String(most)); // five, and requests that ask whether the Volume exists
});

const mounted = `lakebase_test_${crypto.randomUUID().slice(0, 8)}`;
const mayMount = (() => {
  try {
    Deno.mkdirSync(`/Volumes/${mounted}/raw/landing`, { recursive: true });
    return true;
  } catch {
    return false;
  }
})();
Deno.test.afterAll(async () => {
  if (!mayMount) return;
  await Deno.remove(`/Volumes/${mounted}`, { recursive: true });
  await Deno.remove("/Volumes").catch(() => {}); // something else is in it
});

localTest(
  { name: "a path of a Volume that is a folder of this machine is read and written as a folder", ignore: !mayMount },
  async ({ local, settings }) => {
    const workspace = { config: { ...workspaceOf(local).config, workspaceId: "77" } };
    await using db = await connect(settings({ workspace }));
    const before = local.requests.filter(({ path }) => path.includes("/fs/")).length;
    const path = `/Volumes/${mounted}/raw/landing/t.csv`;
    await db.sql`SELECT 1 AS id`.pull(path);
    assert.equal(await Deno.readTextFile(path), "id\n1\n");
    assert.equal((await db.load("here", `/Volumes/${mounted}/raw/landing/`, { create: true })).rows, 1);
    assert.equal(local.requests.filter(({ path }) => path.includes("/fs/")).length, before);
    await assert.rejects(db.load("here", "dbfs:/Volumes/main/raw/landing/t.csv"), {
      code: "BAD_PARAMETER",
      message: /leave out "dbfs:", \/Volumes\/main/,
    });
  },
);
