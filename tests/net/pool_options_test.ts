import assert from "node:assert/strict";
import { type Clock, install } from "npm:@sinonjs/fake-timers@15.5.0";
import { IdleTimer } from "../../src/net/pool_options.ts";

interface Client {
  name: string;
  idleSince: number;
}

interface Rig extends Disposable {
  clock: Clock;
  timer: IdleTimer<Client>;
  /** The number of checks for idle clients. */
  checks: number;
  /** The clients that were closed, with the times. */
  closed: [name: string, at: number][];
  /** Gives a client back. */
  release: (name: string) => Client;
}

function rig(limit: number): Rig {
  const clock = install({ toFake: ["setTimeout", "clearTimeout", "Date"], now: 1000 });
  const clients = new Map<string, Client>();
  const closed: [string, number][] = [];
  const timer = new IdleTimer<Client>({
    limit,
    clients: {
      [Symbol.iterator]() {
        rig.checks++;
        return clients.values();
      },
    },
    close: ({ name }) => {
      clients.delete(name);
      closed.push([name, Date.now() - 1000]);
    },
  });
  const release = (name: string) => {
    const client = clients.get(name) ?? { name, idleSince: 0 };
    client.idleSince = Date.now();
    clients.set(name, client);
    timer.start();
    return client;
  };
  const rig: Rig = { clock, timer, checks: 0, closed, release, [Symbol.dispose]: () => clock.uninstall() };
  return rig;
}

Deno.test("IdleTimer closes each client at its idle limit, with one timer for all", () => {
  using r = rig(100);
  r.release("a");
  r.clock.tick(30);
  const b = r.release("b");
  r.release("c");
  assert.equal(r.clock.countTimers(), 1);
  r.clock.tick(20);
  b.idleSince = 0; // in use
  r.clock.tick(30);
  r.release("b");
  r.clock.tick(1000);
  assert.deepEqual(r.closed, [["a", 100], ["c", 130], ["b", 180]]);
  assert.equal(r.clock.countTimers(), 0);
});

Deno.test("IdleTimer closes nothing with a limit of 0 or after stop()", () => {
  for (const [limit, stopped] of [[0, "never"], [100, "first"], [100, "later"]] as const) {
    using r = rig(limit);
    if (stopped === "first") r.timer.stop();
    r.release("a");
    if (stopped === "later") r.timer.stop();
    r.release("b");
    assert.equal(r.clock.countTimers(), 0);
    r.clock.tick(1_000_000);
    assert.deepEqual(r.closed, []);
  }
});

Deno.test("IdleTimer waits for longer than one timer can", () => {
  const year = 365 * 86_400_000;
  using r = rig(year);
  r.release("a");
  r.clock.tick(1000);
  assert.equal(r.checks, 0, "the timer checks too often");
  r.clock.tick(year - 1001);
  assert.deepEqual(r.closed, []);
  r.clock.tick(1);
  assert.deepEqual(r.closed, [["a", year]]);
});
