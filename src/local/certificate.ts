import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { bits, element, integer, octets, oid, sequence, time, utf8 } from "./der.ts";

/** A certificate and its private key, both PEM. */
export interface Certificate {
  cert: string;
  key: string;
}

/** What may be wrong with the certificate that the Postgres port shows. */
export type CertificateFault = "wrong-name" | "expired" | "self-signed";

const DAY = 86_400_000;
const ECDSA_SHA256 = sequence(oid("1.2.840.10045.4.3.2"));
const CA_NAME = "Lakebase on this machine";

/**
 * A certificate authority of this process's own, valid for a year.
 *
 * Written out by hand because `@peculiar/x509` needs `reflect-metadata`, which patches the global `Reflect` of
 * whoever imports this, and costs 110 ms.
 */
export class CertificateAuthority {
  readonly #keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  readonly #issued = new Map<CertificateFault | undefined, Certificate>();
  readonly #names: Set<string>;
  /** The authority's own certificate, PEM. */
  readonly ca: string;

  /** `names` are the hosts to certify besides loopback: clients on Node don't take `*.localhost` for one of them. */
  constructor(names: Iterable<string> = []) {
    this.#names = new Set(["localhost", "*.localhost", ...names]);
    this.ca = certificate({
      subject: CA_NAME,
      issuer: CA_NAME,
      publicKey: this.#keys.publicKey,
      issuerPublicKey: this.#keys.publicKey,
      issuerPrivateKey: this.#keys.privateKey,
      from: new Date(Date.now() - DAY),
      to: new Date(Date.now() + 365 * DAY),
      extensions: [
        extension("2.5.29.19", sequence(element(0x01, new Uint8Array([0xff]))), true),
        extension("2.5.29.15", bits(new Uint8Array([0x06]), 1), true),
      ],
    });
  }

  /** The server certificate for loopback, or one with the given fault; the same one each time. */
  issue(fault?: CertificateFault): Certificate {
    const certificate = this.#issued.get(fault) ?? this.#make(fault);
    this.#issued.set(fault, certificate);
    return certificate;
  }

  #make(fault: CertificateFault | undefined): Certificate {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const issuer = fault === "self-signed" ? { publicKey, privateKey } : this.#keys;
    const to = fault === "expired" ? Date.now() - DAY : Date.now() + 90 * DAY;
    const cert = certificate({
      subject: "localhost",
      issuer: fault === "self-signed" ? "localhost" : CA_NAME,
      publicKey,
      issuerPublicKey: issuer.publicKey,
      issuerPrivateKey: issuer.privateKey,
      from: new Date(to - 91 * DAY),
      to: new Date(to),
      extensions: [
        extension("2.5.29.19", sequence(), true),
        extension("2.5.29.15", bits(new Uint8Array([0x80]), 7), true),
        extension("2.5.29.37", sequence(oid("1.3.6.1.5.5.7.3.1"))),
        extension("2.5.29.17", alternativeNames(fault === "wrong-name" ? ["somewhere-else.example.com"] : this.#names)),
      ],
    });
    return { cert, key: privateKey.export({ type: "pkcs8", format: "pem" }) as string };
  }
}

interface Fields {
  subject: string;
  issuer: string;
  publicKey: KeyObject;
  issuerPublicKey: KeyObject;
  issuerPrivateKey: KeyObject;
  from: Date;
  to: Date;
  extensions: Uint8Array[];
}

function certificate(fields: Fields): string {
  const serial = randomBytes(16);
  serial[0] = 0x01;
  const signed = sequence(
    element(0xa0, integer(new Uint8Array([2]))),
    integer(serial),
    ECDSA_SHA256,
    name(fields.issuer),
    sequence(time(fields.from), time(fields.to)),
    name(fields.subject),
    publicKeyInfo(fields.publicKey),
    element(0xa3, sequence(...fields.extensions, ...keyIdentifiers(fields))),
  );
  const signature = sign("sha256", signed, fields.issuerPrivateKey);
  return pem(sequence(signed, ECDSA_SHA256, bits(signature)));
}

// Python 3.13 refuses a chain whose certificates don't name their own key and their issuer's (RFC 5280, 4.2.1).
function keyIdentifiers({ publicKey, issuerPublicKey }: Fields): Uint8Array[] {
  return [
    extension("2.5.29.14", octets(keyIdentifier(publicKey))),
    extension("2.5.29.35", sequence(element(0x80, keyIdentifier(issuerPublicKey)))),
  ];
}

function keyIdentifier(key: KeyObject): Uint8Array {
  return createHash("sha1").update(publicKeyInfo(key)).digest();
}

function publicKeyInfo(key: KeyObject): Uint8Array {
  return key.export({ type: "spki", format: "der" }) as Uint8Array;
}

function extension(id: string, value: Uint8Array, critical = false): Uint8Array {
  const flag = critical ? [element(0x01, new Uint8Array([0xff]))] : [];
  return sequence(oid(id), ...flag, octets(value));
}

function alternativeNames(names: Iterable<string>): Uint8Array {
  return sequence(
    ...[...names].map((name) => element(0x82, new TextEncoder().encode(name))),
    element(0x87, new Uint8Array([127, 0, 0, 1])),
    element(0x87, new Uint8Array([...new Array(15).fill(0), 1])),
  );
}

function name(commonName: string): Uint8Array {
  return sequence(element(0x31, sequence(oid("2.5.4.3"), utf8(commonName))));
}

function pem(der: Uint8Array): string {
  const lines = der.toBase64().match(/.{1,64}/g) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}
