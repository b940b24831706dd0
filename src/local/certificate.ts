import { generateKeyPair, randomBytes } from "node:crypto";
import { promisify } from "node:util";
// @ts-types="npm:@types/node-forge@1.3.14"
import forge from "npm:node-forge@1.4.3";

/** A certificate and its private key, both PEM. */
export interface Certificate {
  /** The certificate. */
  cert: string;
  /** Its private key. */
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

/** A certificate authority for this process, valid for a year. */
export class CertificateAuthority {
  /** The authority's own certificate, PEM. */
  readonly ca: string;
  readonly #own: Keys;
  readonly #server: Keys;
  #names: readonly string[];
  readonly #issued = new Map<CertificateFault | undefined, Certificate>();

  private constructor(own: Keys, server: Keys, names: readonly string[]) {
    this.#own = own;
    this.#server = server;
    this.#names = names;
    this.ca = sign({
      subject: CA_NAME,
      issuer: CA_NAME,
      keys: own,
      signer: own,
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
   * @param names Hosts to certify besides loopback. Clients on Node need each host's name, because they do not accept
   * `*.localhost`.
   */
  static async create(names: Iterable<string> = []): Promise<CertificateAuthority> {
    const [own, server] = await (keyPairs ??= Promise.all([newKeys(), newKeys()]));
    return new CertificateAuthority(own, server, withLoopback(names));
  }

  /**
   * Certifies these hosts, in addition to loopback, instead of the previous ones. Certificates that were already issued
   * do not change.
   */
  certify(names: Iterable<string>): void {
    this.#names = withLoopback(names);
    this.#issued.clear();
  }

  /** The server certificate, or a certificate with a fault. The same one is returned each time. */
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
      keys: this.#server,
      signer: fault === "self-signed" ? this.#server : this.#own,
      until: Date.now() + (fault === "expired" ? -DAY : 90 * DAY),
      extensions: [
        { name: "basicConstraints", cA: false, critical: true },
        { name: "keyUsage", digitalSignature: true, keyEncipherment: true, critical: true },
        { name: "extKeyUsage", serverAuth: true },
        { name: "subjectAltName", altNames: [...names.map(dnsName), ...["127.0.0.1", "::1"].map(ipAddress)] },
        { name: "subjectKeyIdentifier" },
      ],
    });
    return { cert, key: forge.pki.privateKeyToPem(this.#server.privateKey) };
  }
}

function withLoopback(names: Iterable<string>): string[] {
  return [...new Set(["localhost", "*.localhost", ...names])];
}

/** All authorities of this process share the keys, because two key pairs take half a second of processor time. */
let keyPairs: Promise<[Keys, Keys]> | undefined;

/** The runtime generates the keys, because it takes a tenth of the time that node-forge takes. */
async function newKeys(): Promise<Keys> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  return { publicKey: forge.pki.publicKeyFromPem(publicKey), privateKey: forge.pki.privateKeyFromPem(privateKey) };
}

interface Fields {
  subject: string;
  issuer: string;
  keys: Keys;
  signer: Keys;
  until: number;
  extensions: unknown[];
}

function sign({ subject, issuer, keys, signer, until, extensions }: Fields): string {
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

/** A subject alternative name. The types are those of RFC 5280, 4.2.1.6. */
function dnsName(value: string): { type: number; value: string } {
  return { type: 2, value };
}

function ipAddress(ip: string): { type: number; ip: string } {
  return { type: 7, ip };
}
