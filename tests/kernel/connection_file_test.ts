import assert from "node:assert/strict";
import {
  connectionFileText,
  loopbackAddress,
  loopbackInfo,
  parseConnectionInfo,
  readConnectionFile,
} from "../../src/kernel/connection_file.ts";

const INFO = {
  transport: "tcp",
  ip: "127.0.0.1",
  key: "secret",
  signature_scheme: "hmac-sha256",
  shell_port: 1,
  iopub_port: 2,
  stdin_port: 3,
  control_port: 4,
  hb_port: 5,
};

const BAD: [string, Record<string, unknown>, RegExp][] = [
  ["another transport", { transport: "ipc" }, /transport is "ipc"; expected "tcp"/],
  ["another scheme", { signature_scheme: "hmac-md5" }, /signature_scheme is "hmac-md5"/],
  ["no address", { ip: undefined }, /ip is missing/],
  ["no key", { key: 5 }, /key is not a string/],
  ["no port", { hb_port: undefined }, /hb_port is missing/],
  ["a port as text", { shell_port: "1" }, /shell_port is "1"/],
  ["a port that is too large", { stdin_port: 65_536 }, /stdin_port is 65536/],
  ["port 0", { iopub_port: 0 }, /iopub_port is 0/],
  ["one port twice", { iopub_port: 1 }, /two of its ports are the same/],
];

Deno.test("a connection file is read", () => {
  const ports = { shell: 1, iopub: 2, stdin: 3, control: 4, hb: 5 };
  const info = { ip: "127.0.0.1", key: "secret", ports };
  assert.deepEqual(parseConnectionInfo(JSON.stringify(INFO)), info);
  assert.deepEqual(parseConnectionInfo(connectionFileText(info)), info);
  assert.equal(parseConnectionInfo(JSON.stringify({ ...INFO, ip: "*" })).ip, "0.0.0.0");
  assert.equal(parseConnectionInfo(JSON.stringify({ ...INFO, key: undefined, signature_scheme: "" })).key, "");
});

Deno.test("the error of a connection file names the field and does not show the key", () => {
  for (const [name, change, message] of BAD) {
    assert.throws(() => parseConnectionInfo(JSON.stringify({ ...INFO, ...change })), message, name);
  }
  for (const text of ["", "{", "[]", "null", '{"key": "secret"']) {
    assert.throws(() => parseConnectionInfo(text), (error: Error) => {
      return /it is not JSON|it is not a JSON object/.test(error.message) && !error.message.includes("secret");
    }, text);
  }
});

Deno.test("a connection file that can't be read is named", async () => {
  await assert.rejects(
    readConnectionFile("/nothing/here.json"),
    /Cannot read the connection file "\/nothing\/here.json"/,
  );
  const file = await Deno.makeTempFile();
  await assert.rejects(readConnectionFile(file), /Cannot use the connection file ".*": it is not JSON/);
  await Deno.remove(file);
});

const oneAddress = loopbackAddress() === "127.0.0.1";

Deno.test({
  name: `kernels that start in one moment choose nothing that another has chosen${
    oneAddress ? ": this system has one address of loopback" : ""
  }`,
  ignore: oneAddress,
  fn: () => {
    const chosen = Array.from({ length: 200 }, () => loopbackInfo("")).flatMap(({ ip, ports }) =>
      Object.values(ports).map((port) => `${ip}:${port}`)
    );
    assert.equal(new Set(chosen).size, 1000);
    using _listener = Deno.listen({ hostname: chosen[0]!.split(":")[0]!, port: Number(chosen[0]!.split(":")[1]) });
  },
});
