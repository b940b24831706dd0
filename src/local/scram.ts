import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from "node:crypto";

/** The server's half of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding. */
export class ScramServer {
  readonly #password: string | undefined;
  readonly #salt = randomBytes(16);
  #clientFirst = "";
  #serverFirst = "";

  /** With no password the exchange looks the same, and no proof is right. */
  constructor(password: string | undefined) {
    this.#password = password;
  }

  /** Answers the client's first message; undefined where it is none. */
  challenge(clientFirst: string): string | undefined {
    const [, bare, nonce] = /^[ny],[^,]*,(n=[^,]*,r=([^,]+).*)$/.exec(clientFirst) ?? [];
    if (!bare) return undefined;
    this.#clientFirst = bare;
    this.#serverFirst = `r=${nonce}${randomBytes(18).toString("base64")},s=${
      this.#salt.toString("base64")
    },i=${ITERATIONS}`;
    return this.#serverFirst;
  }

  /** Answers the client's proof with the server's own; undefined where the proof is wrong. */
  verify(clientFinal: string): string | undefined {
    const [, withoutProof = "", nonce = "", proof = ""] = /^(c=[^,]+,r=([^,]+)),p=(.+)$/.exec(clientFinal) ?? [];
    if (this.#password === undefined || !this.#serverFirst.startsWith(`r=${nonce},`)) return undefined;
    const salted = pbkdf2Sync(this.#password.normalize("NFKC"), this.#salt, ITERATIONS, 32, "sha256");
    const message = `${this.#clientFirst},${this.#serverFirst},${withoutProof}`;
    const clientKey = hmac(salted, "Client Key");
    const storedKey = createHash("sha256").update(clientKey).digest();
    const signature = hmac(storedKey, message);
    const given = xor(signature, fromBase64(proof));
    if (given.length !== 32 || !timingSafeEqual(createHash("sha256").update(given).digest(), storedKey)) {
      return undefined;
    }
    return `v=${hmac(hmac(salted, "Server Key"), message).toBase64()}`;
  }
}

const ITERATIONS = 4096;

function hmac(key: Uint8Array, text: string): Uint8Array {
  return createHmac("sha256", key).update(text).digest();
}

function xor(left: Uint8Array, right: Uint8Array): Uint8Array {
  return right.map((byte, i) => byte ^ (left[i] ?? 0));
}

function fromBase64(text: string): Uint8Array {
  try {
    return Uint8Array.fromBase64(text);
  } catch {
    return new Uint8Array();
  }
}
