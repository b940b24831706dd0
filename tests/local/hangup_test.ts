import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { once } from "node:events";
import { eventually, nextTurn } from "../support/eventually.ts";
import { queryTest } from "../support/queries.ts";

/** The parts of `pg`'s connection that this test uses. */
interface Wire extends EventEmitter {
  stream: Socket;
  query(text: string): void;
}

/** A CopyData message of 64 kB. */
function copyData(): Buffer {
  const message = Buffer.alloc(65_541, "x");
  message[0] = "d".charCodeAt(0);
  message.writeInt32BE(65_540, 1);
  message[message.length - 1] = "\n".charCodeAt(0);
  return message;
}

queryTest("a client that dies while it is sending leaves no transaction behind", async ({ db, local }) => {
  await db.sql`CREATE TABLE sent (line text)`;
  for (let n = 0; n < 6; n++) {
    const client = await db.pool.connect();
    await client.query("BEGIN");
    const wire = (client as unknown as { connection: Wire }).connection;
    const begun = once(wire, "copyInResponse");
    wire.query("COPY sent FROM STDIN");
    await begun;
    for (let messages = 0; messages < 20 + n * 15; messages++) {
      wire.stream.write(copyData());
      if (n % 2 === 0) await nextTurn();
    }
    wire.stream.destroy(); // usually in the middle of a TLS record
    client.release(true);
    assert.equal(await db.sql`SELECT count(*) FROM sent`.value(), 0);
  }
  await db.sql`DROP TABLE sent`;
  await eventually("the sessions of the dead clients are over", () => local.connections <= 2);
});
