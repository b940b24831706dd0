import { generateKeyPair, randomBytes } from "node:crypto";
import { promisify } from "node:util";
// @ts-types="npm:@types/node-forge@1.3.14"
import forge from "npm:node-forge@1.4.3";

/** A certificate and its private key, both as PEM text. */
export interface Certificate {
  cert: string;
  key: string;
}

/** A fault of the Postgres port's certificate. */
export type CertificateFault = "wrong-name" | "expired" | "self-signed";

interface Keys {
  publicKey: forge.pki.rsa.PublicKey;
  privateKey: forge.pki.rsa.PrivateKey;
}

const DAY = 86_400_000;
const CA_NAME = "Lakebase on this machine";

/** A certificate authority, which is valid for a year. */
export class CertificateAuthority {
  /** The authority's certificate, as PEM text. */
  readonly ca: string;
  readonly #caKeys: Keys;
  readonly #serverKeys: Keys;
  #names: readonly string[];
  readonly #issued = new Map<CertificateFault | undefined, Certificate>();

  private constructor(caKeys: Keys, serverKeys: Keys, names: readonly string[]) {
    this.#caKeys = caKeys;
    this.#serverKeys = serverKeys;
    this.#names = names;
    this.ca = sign({
      subject: CA_NAME,
      issuer: CA_NAME,
      keys: caKeys,
      signer: caKeys,
      until: Date.now() + 365 * DAY,
      extensions: [
        { name: "basicConstraints", cA: true, critical: true },
        { name: "keyUsage", keyCertSign: true, cRLSign: true, critical: true },
        { name: "subjectKeyIdentifier" },
      ],
    });
  }

  /**
   * Creates an authority.
   *
   * @param names Hosts to certify in addition to the loopback ones. They are needed for Node, which does not accept
   * `*.localhost`.
   */
  static async create(names: Iterable<string> = []): Promise<CertificateAuthority> {
    const [caKeys, serverKeys] = await (keyPairs ??= Promise.all([newKeys(), newKeys()]));
    return new CertificateAuthority(caKeys, serverKeys, withLoopback(names));
  }

  /**
   * Replaces the hosts to certify in addition to the loopback ones. Certificates that were issued before do not change.
   */
  certify(names: Iterable<string>): void {
    this.#names = withLoopback(names);
    this.#issued.clear();
  }

  /** Returns the server certificate, or one with a fault: the same one until the hosts change. */
  issue(fault?: CertificateFault): Certificate {
    const certificate = this.#issued.get(fault) ?? this.#make(fault);
    this.#issued.set(fault, certificate);
    return certificate;
  }

  #make(fault: CertificateFault | undefined): Certificate {
    const names = fault === "wrong-name" ? ["somewhere-else.example.com"] : this.#names;
    const cert = sign({
      subject: "localhost",
      issuer: fault === "self-signed" ? "localhost" : CA_NAME,
      keys: this.#serverKeys,
      signer: fault === "self-signed" ? this.#serverKeys : this.#caKeys,
      until: Date.now() + (fault === "expired" ? -DAY : 90 * DAY),
      extensions: [
        { name: "basicConstraints", cA: false, critical: true },
        { name: "keyUsage", digitalSignature: true, keyEncipherment: true, critical: true },
        { name: "extKeyUsage", serverAuth: true },
        { name: "subjectAltName", altNames: [...names.map(dnsName), ...["127.0.0.1", "::1"].map(ipAddress)] },
        { name: "subjectKeyIdentifier" },
      ],
    });
    return { cert, key: forge.pki.privateKeyToPem(this.#serverKeys.privateKey) };
  }
}

function withLoopback(names: Iterable<string>): string[] {
  return [...new Set(["localhost", "*.localhost", ...names])];
}

/** The keys of all authorities of this process, because generating two key pairs takes half a second. */
let keyPairs: Promise<[Keys, Keys]> | undefined;

/** Generates keys with the runtime, which takes a tenth of the time of node-forge. */
async function newKeys(): Promise<Keys> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  return { publicKey: forge.pki.publicKeyFromPem(publicKey), privateKey: forge.pki.privateKeyFromPem(privateKey) };
}

interface CertificateFields {
  subject: string;
  issuer: string;
  /** The keys that are certified. */
  keys: Keys;
  /** The keys that sign. */
  signer: Keys;
  /** The end of the validity, in milliseconds since the epoch. */
  until: number;
  extensions: unknown[];
}

/** Makes a certificate, as PEM text. */
function sign({ subject, issuer, keys, signer, until, extensions }: CertificateFields): string {
  const certificate = forge.pki.createCertificate();
  certificate.serialNumber = `01${randomBytes(15).toString("hex")}`;
  certificate.publicKey = keys.publicKey;
  certificate.validity.notBefore = new Date(until - 400 * DAY);
  certificate.validity.notAfter = new Date(until);
  certificate.setSubject([{ name: "commonName", value: subject }]);
  certificate.setIssuer([{ name: "commonName", value: issuer }]);
  // Python 3.13 refuses certificates that do not name their own key and their issuer's (RFC 5280, 4.2.1).
  const keyIdentifier = forge.pki.getPublicKeyFingerprint(signer.publicKey, { type: "RSAPublicKey" }).getBytes();
  certificate.setExtensions([...extensions, { name: "authorityKeyIdentifier", keyIdentifier }]);
  certificate.sign(signer.privateKey, forge.md.sha256.create());
  return forge.pki.certificateToPem(certificate);
}

// Subject alternative names with their types in RFC 5280, 4.2.1.6.

function dnsName(value: string): { type: number; value: string } {
  return { type: 2, value };
}

function ipAddress(ip: string): { type: number; ip: string } {
  return { type: 7, ip };
}
