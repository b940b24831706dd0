import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { CertificateAuthority, type CertificateFault } from "../../src/local/certificate.ts";

const authority = await CertificateAuthority.create(["ep-1.example.com"]);
const ca = new X509Certificate(authority.ca);

function issued(fault?: CertificateFault): X509Certificate {
  return new X509Certificate(authority.issue(fault).cert);
}

Deno.test("CertificateAuthority issues a certificate for every name of this machine", () => {
  const leaf = issued();
  assert(ca.ca);
  assert(!leaf.ca);
  assert(leaf.checkIssued(ca));
  assert(leaf.verify(ca.publicKey));
  assert.match(
    leaf.subjectAltName ?? "",
    /^DNS:localhost, DNS:\*\.localhost, DNS:ep-1\.example\.com, IP Address:127\.0\.0\.1, IP Address:.*:1$/,
  );
  assert(Date.parse(leaf.validFrom) < Date.now() && Date.now() < Date.parse(leaf.validTo));
});

Deno.test("CertificateAuthority issues certificates with one fault", () => {
  assert.match(issued("wrong-name").subjectAltName ?? "", /^DNS:somewhere-else\.example\.com, IP/);
  assert(issued("wrong-name").verify(ca.publicKey));
  assert(Date.parse(issued("expired").validTo) < Date.now());
  assert(issued("expired").verify(ca.publicKey));
  const own = issued("self-signed");
  assert(!own.verify(ca.publicKey));
  assert(own.verify(own.publicKey));
});

Deno.test("CertificateAuthority.issue() gives the same certificate each time", () => {
  assert.equal(authority.issue(), authority.issue());
  assert.notEqual(authority.issue().cert, authority.issue("expired").cert);
});
