// An oracle of primitives: opens CMS with nothing but a reader of DER and the crypto of Node.js,
// which has what no installable implementation of CMS has (ML-KEM, ML-DSA, X25519 under HKDF).
// A request is one line of words, an answer one line that begins with "ok" or "error". Octets
// travel as "=" and their base64.
import crypto from "node:crypto";
import { createInterface } from "node:readline";

const octets = (word) => Buffer.from(word.slice(1), "base64");
const word = (value) => "=" + Buffer.from(value).toString("base64");

// --- DER ---

function elements(der) {
  const found = [];
  for (let at = 0; at < der.length; ) {
    let head = at + 2;
    let size = der[at + 1];
    if (size > 127) {
      head += size & 127;
      size = der.readUIntBE(at + 2, size & 127);
    }
    const end = head + size;
    if (end > der.length) throw new Error("an element reaches beyond its parent");
    found.push({ tag: der[at], raw: der.subarray(at, end), body: der.subarray(head, end) });
    at = end;
  }
  return found;
}

const inside = (element) => elements(element.body);

function tlv(tag, ...parts) {
  const body = Buffer.concat(parts);
  if (body.length > 127) throw new Error("longer than what is made here");
  return Buffer.concat([Buffer.from([tag, body.length]), body]);
}

function dotted(element) {
  const numbers = [];
  let value = 0n;
  for (const octet of element.body) {
    value = (value << 7n) | BigInt(octet & 127);
    if (octet < 128) {
      numbers.push(value);
      value = 0n;
    }
  }
  const first = numbers[0] < 80n ? numbers[0] / 40n : 2n;
  return [first, numbers[0] - 40n * first, ...numbers.slice(1)].join(".");
}

const oidOf = (algorithm) => dotted(inside(algorithm)[0]);

function contentOf(cms) {
  const [type, content] = inside(elements(cms)[0]);
  return [dotted(type), inside(inside(content)[0])];
}

// --- encryption ---

const X963 = {
  "1.3.132.1.11.0": "sha224",
  "1.3.132.1.11.1": "sha256",
  "1.3.132.1.11.2": "sha384",
  "1.3.132.1.11.3": "sha512",
  "1.3.132.1.14.0": "sha224",
  "1.3.132.1.14.1": "sha256",
  "1.3.132.1.14.2": "sha384",
  "1.3.132.1.14.3": "sha512",
  "1.3.133.16.840.63.0.2": "sha1",
  "1.3.133.16.840.63.0.3": "sha1",
};
const HKDF = {
  "1.2.840.113549.1.9.16.3.19": "sha256",
  "1.2.840.113549.1.9.16.3.20": "sha384",
  "1.2.840.113549.1.9.16.3.21": "sha512",
  "1.2.840.113549.1.9.16.3.28": "sha256",
  "1.2.840.113549.1.9.16.3.29": "sha384",
  "1.2.840.113549.1.9.16.3.30": "sha512",
};
const WRAP = {
  "2.16.840.1.101.3.4.1.5": ["aes128-wrap", 16],
  "2.16.840.1.101.3.4.1.25": ["aes192-wrap", 24],
  "2.16.840.1.101.3.4.1.45": ["aes256-wrap", 32],
};
const CIPHERS = {
  "2.16.840.1.101.3.4.1.2": ["aes-128-cbc", 16],
  "2.16.840.1.101.3.4.1.22": ["aes-192-cbc", 24],
  "2.16.840.1.101.3.4.1.42": ["aes-256-cbc", 32],
  "2.16.840.1.101.3.4.1.6": ["aes-128-gcm", 16],
  "2.16.840.1.101.3.4.1.26": ["aes-192-gcm", 24],
  "2.16.840.1.101.3.4.1.46": ["aes-256-gcm", 32],
  "2.16.840.1.101.3.4.1.7": ["aes-128-ccm", 16],
  "2.16.840.1.101.3.4.1.27": ["aes-192-ccm", 24],
  "2.16.840.1.101.3.4.1.47": ["aes-256-ccm", 32],
  "1.2.840.113549.1.9.16.3.18": ["chacha20-poly1305", 32],
};
const CEK_HKDF_SHA256 = "1.2.840.113549.1.9.16.3.31";

function x963(hash, secret, info, size) {
  const blocks = [];
  for (let counter = 1; Buffer.concat(blocks).length < size; counter += 1) {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(counter);
    blocks.push(crypto.createHash(hash).update(secret).update(number).update(info).digest());
  }
  return Buffer.concat(blocks).subarray(0, size);
}

const hkdf = (hash, secret, salt, info, size) =>
  Buffer.from(crypto.hkdfSync(hash, secret, salt, info, size));

function unwrapped(wrap, kek, encrypted) {
  const opener = crypto.createDecipheriv(wrap, kek, Buffer.alloc(8, 0xa6));
  return Buffer.concat([opener.update(encrypted), opener.final()]);
}

function transported(recipient, key) {
  const [, , algorithm, encrypted] = elements(recipient.body);
  if (oidOf(algorithm) !== "1.2.840.113549.1.1.1") throw new Error("key transport is not v1.5");
  const padding = crypto.constants.RSA_PKCS1_PADDING;
  return crypto.privateDecrypt({ key, padding }, encrypted.body);
}

function agreed(recipient, key) {
  const [, originator, ...rest] = inside(recipient);
  const ukm = rest[0].tag === 0xa1 ? inside(rest.shift())[0].body : undefined;
  const [scheme, wrapAlgorithm] = inside(rest[0]);
  const [, encrypted] = inside(inside(rest[1])[0]);
  const point = inside(inside(originator)[0])[1].body.subarray(1); // BIT STRING, no unused bits
  // the originator's key is of the recipient's kind: its octets take the place of ours
  const own = crypto.createPublicKey(key).export({ type: "spki", format: "der" });
  const spki = Buffer.concat([own.subarray(0, own.length - point.length), point]);
  const publicKey = crypto.createPublicKey({ key: spki, type: "spki", format: "der" });
  const secret = crypto.diffieHellman({ privateKey: key, publicKey });
  const [wrap, size] = WRAP[oidOf(wrapAlgorithm)];
  const bits = Buffer.from([0, 0, 0, 0]);
  bits.writeUInt32BE(size * 8);
  const info = tlv(
    0x30,
    wrapAlgorithm.raw,
    ukm ? tlv(0xa0, tlv(0x04, ukm)) : Buffer.alloc(0),
    tlv(0xa2, tlv(0x04, bits)),
  );
  const oid = dotted(scheme);
  const kek = HKDF[oid]
    ? hkdf(HKDF[oid], secret, ukm ?? Buffer.alloc(0), info, size)
    : x963(X963[oid], secret, info, size);
  return unwrapped(wrap, kek, encrypted.body);
}

function decapsulated(recipient, key) {
  const [kind, value] = inside(recipient);
  if (dotted(kind) !== "1.2.840.113549.1.9.16.13.3") throw new Error("not a KEMRecipientInfo");
  const [, , , kemct, kdf, kekLength, ...rest] = inside(value);
  const ukm = rest[0].tag === 0xa0 ? rest.shift().raw : Buffer.alloc(0);
  const [wrap, size] = WRAP[oidOf(rest[0])];
  if (kekLength.body.readUIntBE(0, kekLength.body.length) !== size) throw new Error("kekLength");
  const secret = crypto.decapsulate(key, kemct.body);
  const info = tlv(0x30, rest[0].raw, kekLength.raw, ukm);
  const kek = hkdf(HKDF[oidOf(kdf)], secret, Buffer.alloc(0), info, size);
  return unwrapped(wrap, kek, rest[1].body);
}

const OPENERS = { 0x30: transported, 0xa1: agreed, 0xa4: decapsulated };

// decrypt CMS PKCS8
function decrypt(cms, pkcs8) {
  const key = crypto.createPrivateKey({ key: octets(pkcs8), type: "pkcs8", format: "der" });
  const [, fields] = contentOf(octets(cms));
  const [, recipients, encrypted, mac] = fields;
  const recipient = inside(recipients)[0];
  let cek = OPENERS[recipient.tag](recipient, key);
  let [, algorithm, ciphertext] = inside(encrypted);
  if (oidOf(algorithm) === CEK_HKDF_SHA256) {
    algorithm = inside(algorithm)[1];
    const salt = Buffer.from("The Cryptographic Message Syntax");
    cek = hkdf("sha256", cek, salt, algorithm.raw, cek.length);
  }
  const [cipher, size] = CIPHERS[oidOf(algorithm)];
  if (cek.length !== size) throw new Error("the content key has another length");
  const parameters = inside(algorithm)[1];
  const nonce = parameters.tag === 0x30 ? inside(parameters)[0].body : parameters.body;
  const options = mac ? { authTagLength: mac.body.length } : {};
  const opener = crypto.createDecipheriv(cipher, cek, nonce, options);
  if (mac) opener.setAuthTag(mac.body);
  return Buffer.concat([opener.update(ciphertext.body), opener.final()]);
}

// --- signatures ---

const DIGESTS = {
  "2.16.840.1.101.3.4.2.1": (data) => crypto.createHash("sha256").update(data).digest(),
  "2.16.840.1.101.3.4.2.2": (data) => crypto.createHash("sha384").update(data).digest(),
  "2.16.840.1.101.3.4.2.3": (data) => crypto.createHash("sha512").update(data).digest(),
  "2.16.840.1.101.3.4.2.8": (data) => crypto.createHash("sha3-256").update(data).digest(),
  "2.16.840.1.101.3.4.2.18": (data) =>
    crypto.createHash("shake256", { outputLength: 64 }).update(data).digest(),
};
const HASHES = {
  "2.16.840.1.101.3.4.2.1": "sha256",
  "2.16.840.1.101.3.4.2.2": "sha384",
  "2.16.840.1.101.3.4.2.3": "sha512",
  "2.16.840.1.101.3.4.2.8": "sha3-256",
};
const PSS = "1.2.840.113549.1.1.10";

function isValid(certificate, data, digest, scheme, signature) {
  const key = new crypto.X509Certificate(certificate.raw).publicKey;
  const hash = ["rsa", "ec"].includes(key.asymmetricKeyType) ? HASHES[digest] : null;
  const saltLength = crypto.constants.RSA_PSS_SALTLEN_DIGEST;
  const padding = crypto.constants.RSA_PKCS1_PSS_PADDING;
  const how = scheme === PSS ? { key, padding, saltLength } : { key };
  return crypto.verify(hash, data, how, signature);
}

// verify CMS CONTENT|-
function verify(cms, detached) {
  const [, [, , encapsulated, certificates, signers]] = contentOf(octets(cms));
  const inner = inside(encapsulated)[1];
  const content = inner ? inside(inner)[0].body : octets(detached);
  if (inside(signers).length === 0) throw new Error("nobody signed");
  for (const signer of inside(signers)) {
    const [, , digest, attributes, scheme, signature] = inside(signer);
    const hashed = inside(attributes).find(
      (attribute) => dotted(inside(attribute)[0]) === "1.2.840.113549.1.9.4",
    );
    const claimed = inside(inside(hashed)[1])[0].body;
    if (!claimed.equals(DIGESTS[oidOf(digest)](content))) throw new Error("another content");
    const data = Buffer.concat([Buffer.from([0x31]), attributes.raw.subarray(1)]);
    const good = inside(certificates).some((one) =>
      isValid(one, data, oidOf(digest), oidOf(scheme), signature.body),
    );
    if (!good) throw new Error("a signature is not valid");
  }
  return content;
}

const commands = { decrypt, verify };
console.log("ok " + word(Buffer.from(process.versions.node)));
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...words] = line.split(" ");
  try {
    console.log("ok " + word(commands[name](...words)));
  } catch (error) {
    console.log("error " + String(error?.message ?? error).replace(/\s+/g, " "));
  }
}
