// @blamejs/pki: signs and encrypts mail with header protection (RFC 9788), and reads it. A request
// is one line of words, an answer one line that begins with "ok" or "error". Octets travel as "="
// and their base64.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(import.meta.url);
const pki = require("@blamejs/pki");
const octets = (word) => Buffer.from(word.slice(1), "base64");
const word = (value) => "=" + Buffer.from(value).toString("base64");

function protect(headers, hcp) {
  return { protectHeaders: true, headers: JSON.parse(octets(headers)), hcp };
}

const said = ({ protectedHeaders, headerProtection }, more) =>
  JSON.stringify({ fields: protectedHeaders, protection: headerProtection, ...more });

const operations = {
  sign: (form, hcp, headers, content, cert, key) =>
    pki.smime.sign(octets(content), [{ cert: octets(cert), key: octets(key) }], {
      form,
      ...protect(headers, hcp),
    }),
  encrypt: (cipher, hcp, headers, content, cert) =>
    pki.smime.encrypt(octets(content), [{ cert: octets(cert) }], {
      contentEncryptionAlgorithm: cipher,
      ...protect(headers, hcp),
    }),
  verify: async (message, root) => {
    const found = await pki.smime.verify(octets(message), { trustAnchors: [octets(root)] });
    return said(found, { valid: found.valid, trusted: found.trusted });
  },
  decrypt: async (message, cert, key) =>
    said(await pki.smime.decrypt(octets(message), { cert: octets(cert), key: octets(key) })),
};

const say = (line) => process.stdout.write(line + "\n");
say("ok " + word(require("@blamejs/pki/package.json").version));
for await (const line of createInterface({ input: process.stdin })) {
  const [operation, ...words] = line.split(" ");
  try {
    say("ok " + word(await operations[operation](...words)));
  } catch (error) {
    say("error " + String(error.message).replace(/\s+/g, " "));
  }
}
