// @microsoft/microsoft-graph-client, unmodified, in a conversation with an emulator:
// node graph_client.mjs FOLDER-OF-node_modules URL TOKEN < message
// prints in JSON what it was told.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [modules, baseUrl, token] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const graph = require("@microsoft/microsoft-graph-client");

const client = graph.Client.init({
  baseUrl,
  defaultVersion: "v1.0",
  customHosts: new Set([new URL(baseUrl).hostname]), // who gets the token, over https alone
  authProvider: (done) => done(null, token),
});
const message = readFileSync(0);
const mime = (path) =>
  client.api(path).header("Content-Type", "text/plain").post(message.toString("base64"));

const SIZE = 3_300_000; // what is smaller is no upload session's
const told = {};
told.draft = (await mime("/me/messages")).internetMessageId;
await mime("/me/sendMail");

const written = await client.api("/me/messages").post({
  subject: "written",
  body: { contentType: "text", content: "by the client" },
  toRecipients: [{ emailAddress: { address: "bob@contoso.com" } }],
});
const large = new graph.FileUpload(Buffer.alloc(SIZE, "large "), "large.txt", SIZE);
const session = await graph.LargeFileUploadTask.createUploadSession(
  client,
  `/me/messages/${written.id}/attachments/createUploadSession`,
  { AttachmentItem: { attachmentType: "file", name: "large.txt", size: SIZE } },
);
const task = new graph.LargeFileUploadTask(client, large, session, { rangeSize: 10 * 327_680 });
told.uploaded = (await task.upload()).location !== undefined;
await client.api(`/me/messages/${written.id}/send`).post();

// all pages of two
const found = [];
const first = await client.api("/users/bob@contoso.com/mailFolders/inbox/messages")
  .select("subject", "hasAttachments").top(2).get();
await new graph.PageIterator(client, first, (one) => found.push(one.subject)).iterate();
told.subjects = found;

const [signed] = (await client.api("/users/bob@contoso.com/messages")
  .filter("internetMessageId eq '<sealed@contoso.com>'").get()).value;
const raw = await client.api(`/users/bob@contoso.com/messages/${signed.id}/$value`)
  .responseType(graph.ResponseType.ARRAYBUFFER).get();
told.same = Buffer.from(raw).equals(message);

try {
  await client.api("/me/messages/AAMkADnobody").get();
} catch (error) {
  told.error = [error.statusCode, error.code, Boolean(error.requestId)];
}
// it waits and asks again by itself
told.folder = (await client.api("/me/mailFolders/drafts").get()).displayName;
console.log(JSON.stringify(told));
