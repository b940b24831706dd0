import assert from "node:assert/strict";
import { pagedTables, type SnapshotRow } from "../../../src/transfer/pull/snapshot.ts";

const TABLE: SnapshotRow = {
  snapshot: "00000003-1",
  relation: "public.t",
  columns: [["n", 23, -1]],
  kind: "r",
  temporary: false,
  inherited: false,
  secured: false,
  version: 170_005,
  embedded: false,
  name: "public.t",
  leafKind: "r",
  readable: true,
  access: "heap",
  pages: 7,
  bytes: 57_344,
};

Deno.test("pagedTables() refuses tables that can't be read by their pages, with the reason", () => {
  const cases: [Partial<SnapshotRow>, RegExp][] = [
    [{ embedded: true }, /PGlite\) does one thing at a time/],
    [{ version: 130_010 }, /older than PostgreSQL 14/],
    [{ temporary: true }, /a temporary table, which other connections can't see/],
    [{ inherited: true }, /other tables inherit from it/],
    [{ kind: "v" }, /it is a view, which has no pages/],
    [{ kind: "?" }, /it is not a table, which has no pages/],
    [{ kind: "p", secured: true }, /it has row-level security/],
    [{ kind: "p", leafKind: "f", access: null }, /its partition public.t is a foreign table/],
    [{ kind: "p", readable: false }, /not its partition public.t directly/],
    [{ access: "columnar" }, /it keeps its rows with the access method "columnar"/],
  ];
  for (const [more, reason] of cases) {
    assert.throws(() => pagedTables("public.t", [{ ...TABLE, ...more }]), reason, JSON.stringify(more));
  }
  assert.throws(() => pagedTables("public.t", []), /there is no such table/);
  const parts = [{ ...TABLE, kind: "p" }, { ...TABLE, kind: "p", name: "public.far", leafKind: "f" }];
  assert.throws(() => pagedTables("public.t", parts), /its partition public.far/);
});

Deno.test("pagedTables() gives the table, its partitions, or an empty table without partitions", () => {
  assert.deepEqual(pagedTables("public.t", [{ ...TABLE, secured: true }]), [{
    name: "public.t",
    pages: 7,
    bytes: 57_344,
  }]);
  const parts = ["public.a", "public.b"].map((name) => ({ ...TABLE, kind: "p", name }));
  assert.deepEqual(pagedTables("public.t", parts).map(({ name }) => name), ["public.a", "public.b"]);
  const none = { ...TABLE, kind: "p", name: null, access: null };
  assert.deepEqual(pagedTables("public.t", [none]), [{ name: "public.t", pages: 0, bytes: 0 }]);
});
