// PKI.js behind a line protocol: a request is one line of words, an answer one line that begins
// with "ok" or "error". Octets travel as "=" and their base64, so that none is no octets.
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";
import * as asn1js from "asn1js";
import * as pkijs from "pkijs";

pkijs.setEngine("node", new pkijs.CryptoEngine({ name: "node", crypto: webcrypto }));
const subtle = webcrypto.subtle;

const octets = (word) => new Uint8Array(Buffer.from(word.slice(1), "base64")).slice().buffer;
const word = (value) => "=" + Buffer.from(value).toString("base64");
const certificate = (text) => pkijs.Certificate.fromBER(octets(text));
const contentOf = (cms) => pkijs.ContentInfo.fromBER(cms).content;

// kind: RSASSA-PKCS1-v1_5, RSA-PSS, RSA-OAEP, ECDSA:P-256, ECDH:P-256
async function privateKey(text, kind, hash, usages) {
  const [name, namedCurve] = kind.split(":");
  const algorithm = namedCurve ? { name, namedCurve } : { name, hash };
  return subtle.importKey("pkcs8", octets(text), algorithm, true, usages);
}

function wrapped(type, value) {
  const info = new pkijs.ContentInfo({ contentType: type, content: value });
  return info.toSchema().toBER(false);
}

// sign opaque|detached HASH CONTENT (KIND CERTIFICATE KEY)...
async function sign([form, hash, content, ...signers]) {
  const data = octets(content);
  const digest = await subtle.digest(hash, data);
  const signed = new pkijs.SignedData({
    version: 1,
    encapContentInfo: new pkijs.EncapsulatedContentInfo({
      eContentType: "1.2.840.113549.1.7.1",
      ...(form === "opaque" ? { eContent: new asn1js.OctetString({ valueHex: data }) } : {}),
    }),
    signerInfos: [],
    certificates: [],
  });
  for (let index = 0; index < signers.length; index += 3) {
    const [kind, der, pkcs8] = signers.slice(index, index + 3);
    const own = certificate(der);
    signed.certificates.push(own);
    const attribute = (type, value) => new pkijs.Attribute({ type, values: [value] });
    signed.signerInfos.push(
      new pkijs.SignerInfo({
        version: 1,
        sid: new pkijs.IssuerAndSerialNumber({
          issuer: own.issuer,
          serialNumber: own.serialNumber,
        }),
        signedAttrs: new pkijs.SignedAndUnsignedAttributes({
          type: 0,
          attributes: [
            attribute(
              "1.2.840.113549.1.9.3",
              new asn1js.ObjectIdentifier({ value: "1.2.840.113549.1.7.1" }),
            ),
            attribute("1.2.840.113549.1.9.5", new asn1js.UTCTime({ valueDate: new Date() })),
            attribute("1.2.840.113549.1.9.4", new asn1js.OctetString({ valueHex: digest })),
          ],
        }),
      }),
    );
    const key = await privateKey(pkcs8, kind, hash, ["sign"]);
    await signed.sign(key, signed.signerInfos.length - 1, hash, form === "opaque" ? undefined : data);
  }
  return wrapped("1.2.840.113549.1.7.2", signed.toSchema(true));
}

// verify CMS CONTENT|-
async function verify([cms, content]) {
  const signed = new pkijs.SignedData({ schema: contentOf(octets(cms)) });
  if (signed.signerInfos.length === 0) throw new Error("nobody signed");
  const data = content === "-" ? undefined : octets(content);
  for (let signer = 0; signer < signed.signerInfos.length; signer += 1) {
    const good = await signed.verify({ signer, data, checkChain: false });
    if (!good) throw new Error("a signature is not valid");
  }
  return data ?? signed.encapContentInfo.eContent.getValue();
}

// encrypt CIPHER BITS HASH CONTENT RECIPIENT...
async function encrypt([cipher, bits, hash, content, ...recipients]) {
  const enveloped = new pkijs.EnvelopedData();
  for (const recipient of recipients) {
    const [kind, value] = recipient.split(":");
    if (kind === "oaep") enveloped.addRecipientByCertificate(certificate(value), { oaepHashAlgorithm: hash });
    else if (kind === "ecdh") enveloped.addRecipientByCertificate(certificate(value), { kdfAlgorithm: hash, kekEncryptionLength: Number(bits) });
    else throw new Error(`no such recipient: ${kind}`);
  }
  await enveloped.encrypt({ name: cipher, length: Number(bits) }, octets(content));
  return wrapped("1.2.840.113549.1.7.3", enveloped.toSchema());
}

// decrypt CMS key:CERTIFICATE:KEY | password:PASSWORD | shared:IDENTIFIER:KEY
async function decrypt([cms, key]) {
  const enveloped = new pkijs.EnvelopedData({ schema: contentOf(octets(cms)) });
  const [kind, first, second] = key.split(":");
  const parameters =
    kind === "key"
      ? { recipientCertificate: certificate(first), recipientPrivateKey: octets(second) }
      : { preDefinedData: octets(kind === "password" ? first : second) };
  let failure = new Error("no recipient");
  for (let index = 0; index < enveloped.recipientInfos.length; index += 1) {
    try {
      return await enveloped.decrypt(index, parameters);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

const commands = { sign, verify, encrypt, decrypt };
const version = JSON.parse(
  readFileSync(new URL("../node_modules/pkijs/package.json", import.meta.url), "utf8"),
).version;
console.log("ok " + word(Buffer.from(version)));
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...words] = line.split(" ");
  try {
    console.log("ok " + word(await commands[name](words)));
  } catch (error) {
    console.log("error " + String(error?.message ?? error).replace(/\s+/g, " "));
  }
}
