// The web inbox. What comes from a message is put in as text and never as HTML; mail in HTML goes
// into a frame that may neither run nor load anything.
"use strict";

const EVERY = 3000; // milliseconds between two looks at what is shown
const LONG = 200000; // characters of a source that are shown
const main = document.getElementById("main");
const status = document.getElementById("status");
let token = sessionStorage.getItem("token") || "";
let shown = ""; // the place and the answers that the page shows
let last = null; // ... as values
let round = 0; // which look is the newest

class Refused extends Error {
  constructor(code, text) {
    super(text);
    this.code = code;
  }
}

async function request(path, options = {}) {
  const headers = { Authorization: `Bearer ${token}` };
  let answer;
  try {
    answer = await fetch(`/inbox/api/${path}`, { headers, cache: "no-store", ...options });
  } catch {
    throw new Refused(0, "The emulator does not answer.");
  }
  if (!answer.ok) throw new Refused(answer.status, await answer.text());
  return answer;
}

async function ask(path, options = {}) {
  const answer = await request(path, options);
  const text = await answer.text();
  return answer.headers.get("Content-Type") === "application/json" ? JSON.parse(text) : text;
}

// --- elements ---

function make(name, properties = {}, ...inside) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...inside.flat(Infinity).filter((one) => one !== null && one !== undefined));
  return made;
}

function table(caption, heads, rows) {
  return make("table", {},
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, heads.map((one) => make("th", { scope: "col" }, one)))),
    make("tbody", {}, rows));
}

function list(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== "" && value !== undefined);
  return make("dl", {}, known.map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function section(title, ...inside) {
  const id = `part-${title.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
  return make("section", { "aria-labelledby": id }, make("h2", { id }, title), inside);
}

function when(text) {
  const time = new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  return make("time", { datetime: text, title: text }, time);
}

function people(them) {
  return them.map((one) => (one.name && one.name !== one.address
    ? `${one.name} <${one.address}>` : one.address)).join(", ");
}

function size(octets) {
  if (octets < 1024) return `${octets} B`;
  return octets < 1 << 20 ? `${(octets / 1024).toFixed(1)} KB` : `${(octets / (1 << 20)).toFixed(1)} MB`;
}

function chip(text, kind) {
  return make("span", { class: `chip ${kind}` }, text);
}

function heading(text) {
  return make("h1", { tabindex: "-1" }, text);
}

const boxPlace = (address, folder) =>
  `#/mail/${encodeURIComponent(address)}/${encodeURIComponent(folder)}`;

// --- mail ---

function folderView(data) {
  const outgoing = ["sentitems", "drafts", "outbox"].includes(data.name);
  const rows = data.messages.map((one) => make("tr", { class: one.read ? null : "unread" },
    make("td", {}, people(outgoing ? one.to : one.from) || "(nobody)"),
    make("td", {}, make("a", { href: `#/message/${encodeURIComponent(one.id)}` },
      one.subject || "(no subject)"), one.read ? null : make("span", { class: "soft" }, " unread")),
    make("td", {}, one.smime ? chip(one.smime, "plain") : null),
    make("td", { class: "time" }, when(one.time)),
    make("td", { class: "number" }, size(one.size))));
  const count = `${data.total === 1 ? "1 message" : `${data.total} messages`}; signed and encrypted `
    + "as they say, which is checked when one is opened";
  const place = boxPlace(data.address, data.name);
  const pages = make("p", { class: "pager" },
    data.skip ? make("a", { href: `${place}?${Math.max(0, data.skip - 50)}` }, "Newer") : null,
    data.more ? make("a", { href: `${place}?${data.skip + 50}` }, "Older") : null);
  return [heading(`${data.title} of ${data.address}`),
    rows.length ? table(count, [outgoing ? "To" : "From", "Subject", "S/MIME", "Received", "Size"], rows)
      : make("p", {}, "No messages."),
    data.skip || data.more ? pages : null];
}

function body(content, name) {
  if (content.type === "html") {
    // no script, no form, no link that leads anywhere; and the page's policy lets nothing load
    return make("iframe", {
      sandbox: true, title: name, referrerpolicy: "no-referrer", srcdoc: content.text,
    });
  }
  return make("pre", { class: "mail" }, content.text || "(no text)");
}

function banner(kind, word, text) {
  return make("p", { class: `banner ${kind}` }, make("strong", {}, word), ` ${text}`);
}

const KINDS = {
  unprotected: "neither signed nor encrypted",
  signed: "signed",
  encrypted: "encrypted",
  "signed-and-encrypted": "signed and encrypted",
};

// mail that nobody protected is no alarm here
const isNotable = (one) => one.code !== "smime.unsigned";

function verdict(report) {
  const what = KINDS[report.summary];
  const errors = report.findings.filter((one) => one.severity === "error");
  if (!report.layers.length && !errors.some(isNotable)) return banner("plain", "no S/MIME", what);
  if (report.verdict === "accepted") return banner("good", "accepted", what);
  return banner("bad", report.verdict, errors.map((one) => one.text).join("; "));
}

function layerView(one) {
  const facts = [`layer ${one.path}`, size(one.size), one.cipher, one.micalg,
    one.errant ? "of this part alone" : null,
    { true: "detached", false: "opaque" }[one.detached]];
  return make("li", { class: "box" },
    make("h3", {}, one.type),
    make("p", { class: "soft" }, facts.filter(Boolean).join(", ")),
    one.recipients ? make("ul", { "aria-label": "Recipients" }, one.recipients.map((who) =>
      make("li", {}, `for ${who.id} (${who.kind}, ${who.algorithm})`))) : null,
    one.signers ? make("ul", { "aria-label": "Signers" }, one.signers.map((who) =>
      make("li", {}, `signed by ${who.id} (${who.scheme}, ${who.digest})`))) : null);
}

const words = (value) => (value === null ? "unknown" : value ? "yes" : "no");

function signerView(one) {
  return make("div", { class: "box" },
    make("h3", {}, one.email.join(", ") || "(no address)", " ",
      one.accepted ? chip("accepted", "good") : chip("not accepted", "bad")),
    list([
      ["Intact", words(one.intact)], ["Valid", words(one.valid)], ["Trusted", words(one.trusted)],
      ["Is the sender", words(one.sender.matches)], ["Signed at", one.signing_time],
      ["With", `${one.scheme}, ${one.digest}`], ["Certificate", one.subject],
      ["Issued by", one.issuer], ["Serial number", one.serial], ["SHA-256", one.sha256],
    ]));
}

function findingsView(findings) {
  const kinds = { error: "bad", warning: "odd" };
  const rows = findings.map((one) => make("tr", {},
    make("td", {}, chip(one.severity, kinds[one.severity] || "plain")),
    make("td", {}, one.text), make("td", {}, one.where),
    make("td", {}, one.code), make("td", {}, one.source)));
  return table(`${rows.length} in all`, ["Severity", "Finding", "Where", "Code", "Source"], rows);
}

function contentView(data) {
  const report = data.report;
  const sealed = report && report.layers.some((one) => !one.errant && one.cipher);
  if (data.content) {
    return section("Content",
      data.content.verified ? null
        : banner("odd", "not verified", "nobody who is believed vouches for what stands here"),
      list([["Subject", data.content.subject], ["From", people(data.content.from || [])],
        ["To", people(data.content.to || [])], ["Cc", people(data.content.cc || [])]]),
      make("p", {}), body(data.content.body, "Content, unsealed"),
      files(data.content.files, data.id, "content"));
  }
  if (sealed) {
    return section("Content", make("p", {}, "Encrypted, for none of the keys that the emulator was "
      + "started with (--identity)."));
  }
  return section("Content", body(data.body, "Content"),
    files(data.files, data.id, "files"));
}

function files(them, id, where) {
  if (!them.length) return null;
  return make("ul", { class: "files", "aria-label": "Attachments" }, them.map((one, number) => {
    const ending = one.type === "message/rfc822" && !/\.eml$/i.test(one.name) ? ".eml" : "";
    const path = `messages/${encodeURIComponent(id)}/${where}/${number}`;
    return make("li", {}, `${one.name} (${one.type}, ${size(one.size)}) `,
      saveButton("Save", path, one.name + ending, `Save ${one.name}`));
  }));
}

function saveButton(text, path, name, label) {
  const onclick = async () => {
    try {
      const answer = await request(path);
      const url = URL.createObjectURL(await answer.blob());
      make("a", { href: url, download: name }).click();
      URL.revokeObjectURL(url);
      say(`${name} is saved.`);
    } catch (error) {
      tell(error);
    }
  };
  return make("button", { type: "button", "aria-label": label, onclick }, text);
}

function sourceView(data) {
  const text = make("pre", { class: "source", tabindex: "0", "aria-label": "Source" });
  const path = `messages/${encodeURIComponent(data.id)}/source`;
  const save = saveButton("Save as message.eml", path, "message.eml");
  const details = make("details", {}, make("summary", {}, "Source"), make("p", {}, save), text);
  let raw = null;
  const load = async () => {
    if (raw !== null) return;
    raw = await ask(path);
    text.textContent = raw.slice(0, LONG);
    if (raw.length > LONG) text.append(`\n(${raw.length - LONG} more characters are in the file)`);
  };
  details.addEventListener("toggle", () => { load().catch(tell); });
  return details;
}

function messageView(data) {
  const report = data.report;
  const fields = data.fields.map((one) => make("tr", {},
    make("th", { scope: "row" }, one.name), make("td", {}, one.value)));
  return [
    make("p", {}, make("a", { href: boxPlace(data.mailbox, data.folder) },
      `${data.title} of ${data.mailbox}`)),
    heading(data.subject || "(no subject)"),
    list([["From", people(data.from)], ["To", people(data.to)], ["Cc", people(data.cc)],
      ["Bcc", people(data.bcc)], ["Received", when(data.time)], ["Size", size(data.size)],
      ["State", data.draft ? "draft" : ""]]),
    report ? verdict(report) : null,
    contentView(data),
    report && report.layers.length ? section("Layers",
      make("ol", { class: "layers" }, report.layers.map(layerView))) : null,
    report && report.signers && report.signers.length
      ? section("Signers", report.signers.map(signerView)) : null,
    report && (report.layers.length ? report.findings.length : report.findings.some(isNotable))
      ? section("Findings", findingsView(report.findings)) : null,
    section("As it lies in the mailbox",
      make("details", {}, make("summary", {}, "Header fields"),
        table(`${fields.length} fields`, ["Name", "Value"], fields)),
      sourceView(data)),
  ];
}

// --- faults and requests ---

function faultsView(data) {
  const note = make("p", { class: "soft", id: "fault-note" });
  const names = make("select", { id: "fault-name", "aria-describedby": "fault-note" },
    data.known.map((one) => make("option", { value: one.name }, one.name)));
  const seconds = make("input", {
    id: "fault-seconds", type: "text", inputmode: "decimal", pattern: "[0-9]{1,4}([.][0-9]{1,3})?",
  });
  const times = make("input", {
    id: "fault-times", type: "text", pattern: "[1-9][0-9]{0,5}|all", value: "1", required: true,
  });
  const explain = () => {
    const one = data.known.find((known) => known.name === names.value);
    note.textContent = one.seconds ? `${one.what}; seconds: ${one.seconds}` : one.what;
    seconds.disabled = !one.seconds;
  };
  names.addEventListener("change", explain);
  explain();
  const switchOn = async (event) => {
    event.preventDefault();
    const after = seconds.disabled || !seconds.value ? "" : `=${seconds.value}`;
    const fault = `${names.value}${after}:${times.value}`;
    await change("POST", JSON.stringify({ fault }), `${names.value} is switched on.`);
  };
  const form = make("form", { class: "fault", onsubmit: switchOn },
    make("p", {}, make("label", { for: "fault-name" }, "Fault"), names),
    make("p", {}, make("label", { for: "fault-seconds" }, "Seconds"), seconds),
    make("p", {}, make("label", { for: "fault-times" }, "Requests ",
      make("span", { class: "field-note" }, "(or all)")), times),
    make("p", {}, make("button", { type: "submit" }, "Switch on")), note);
  const rows = data.coming.map((one) => make("tr", {}, make("td", {}, one.name),
    make("td", {}, one.times === null ? "every request, until it is switched off"
      : one.times === 1 ? "the next request" : `the next ${one.times} requests`),
    make("td", {}, one.on === "*" ? "any it can strike" : one.on),
    make("td", {}, one.delay === null ? "" : `${one.delay} s`)));
  const clear = () => change("DELETE", null, "All faults are switched off.");
  return [heading("Faults"),
    make("p", {}, "What goes wrong with the next requests to Graph. This page is not struck."),
    form,
    section("Switched on",
      rows.length ? table("In this order", ["Fault", "Strikes", "Which", "Late"], rows)
        : make("p", {}, "None."),
      rows.length ? make("p", {}, make("button", { id: "clear", type: "button", onclick: clear },
        "Switch all off")) : null)];
}

async function change(method, asked, said) {
  try {
    await ask("faults", { method, body: asked });
    await look();
    say(said);
  } catch (error) {
    tell(error);
  }
}

function requestsView(data) {
  const rows = data.requests.map((one) => make("tr", {},
    make("td", {}, one.method), make("td", {}, one.target),
    make("td", { class: "number" }, one.status === null ? "cut" : String(one.status)),
    make("td", {}, one.fault || ""), make("td", { class: "number" }, size(one.body_size)),
    make("td", {}, one.request_id || "")));
  return [heading("Requests"),
    rows.length ? table("The last ones, newest first",
      ["Method", "Target", "Status", "Fault", "Body", "request-id"], rows)
      : make("p", {}, "None yet.")];
}

// --- the page ---

function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { names: path.split("/").map(decodeURIComponent), skip: query || "0" };
}

async function find({ names, skip }) {
  const [kind, first, folder] = names;
  const { mailboxes, more } = await ask("mailboxes");
  const found = { kind, mailboxes, more, box: null };
  if (kind === "faults" || kind === "requests") {
    found.main = await ask(kind);
  } else if (kind === "message") {
    found.main = await ask(`messages/${encodeURIComponent(first)}`);
    found.box = await ask(`mailboxes/${encodeURIComponent(found.main.mailbox)}`);
  } else {
    found.kind = "mail";
    const address = first || mailboxes[0];
    if (address) {
      const box = `mailboxes/${encodeURIComponent(address)}`;
      found.box = await ask(box);
      found.main = await ask(`${box}/${encodeURIComponent(folder || "inbox")}?skip=${skip}`);
    }
  }
  return found;
}

const VIEWS = { mail: folderView, message: messageView, faults: faultsView, requests: requestsView };

function mailboxesView(found) {
  const folder = found.main && (found.main.folder || found.main.name);
  const items = found.mailboxes.map((address) => {
    const here = found.box && found.box.address.toLowerCase() === address.toLowerCase();
    const folders = here ? make("ul", { "aria-label": `Folders of ${address}` },
      found.box.folders.map((one) => make("li", { class: `depth-${Math.min(one.depth, 4)}` }, make("a", {
        href: boxPlace(address, one.name), "aria-current": one.name === folder ? "page" : null,
      }, one.title, make("span", { class: "count" },
        one.unread ? `${one.total}, ${one.unread} unread` : String(one.total)))))) : null;
    return make("li", {}, make("a", { href: boxPlace(address, "inbox") }, address), folders);
  });
  if (found.more) items.push(make("li", { class: "soft" }, "and more, which are not shown"));
  return items;
}

function render(found) {
  // what had the focus has it again, so that nobody who reads or types loses the place
  const active = document.activeElement;
  const key = active && (active.id ? `#${CSS.escape(active.id)}`
    : active.getAttribute("href") ? `a[href="${CSS.escape(active.getAttribute("href"))}"]` : null);
  const kept = [...main.querySelectorAll("form.fault input, form.fault select")]
    .map((one) => [one.id, one.value]);
  document.querySelector("#mailboxes ul").replaceChildren(...mailboxesView(found));
  main.replaceChildren(...(found.main ? VIEWS[found.kind](found.main)
    : [heading("Mail"), make("p", {}, "There is no mailbox yet: the first message makes one.")])
    .flat(Infinity).filter(Boolean));
  for (const [id, value] of kept) {
    const field = document.getElementById(id);
    if (field) field.value = value;
  }
  const select = document.getElementById("fault-name");
  if (select) select.dispatchEvent(new Event("change"));
  if (key && active !== document.body) document.querySelector(key)?.focus();
  for (const one of document.querySelectorAll("#pages a")) {
    const page = found.kind === "message" ? "mail" : found.kind;
    if (one.getAttribute("href") === `#/${page}`) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
  document.title = `${main.querySelector("h1").textContent} - Emulated Graph`;
}

function say(text) {
  if (status.textContent !== text) status.textContent = text;
}

function tell(error) {
  if (error instanceof Refused && error.code === 401) leave(error.message);
  else say(error.message);
}

async function look({ moved = false } = {}) {
  const mine = ++round;
  try {
    const found = await find(place());
    const text = location.hash + JSON.stringify(found);
    if (mine !== round || text === shown) return;
    const before = last;
    [shown, last] = [text, found];
    signedIn(true);
    render(found);
    if (moved) {
      main.querySelector("h1").focus();
      window.scrollTo(0, 0);
      say("");
    } else if (before && found.kind === "mail" && found.main && before.main) {
      const more = found.main.total - before.main.total;
      if (more > 0) say(more === 1 ? "1 new message" : `${more} new messages`);
    } else if (status.textContent.endsWith("not answer.")) say("");
  } catch (error) {
    if (mine !== round) return;
    if (error instanceof Refused && error.code === 404) {
      [shown, last] = ["", null];
      main.replaceChildren(heading("Not there"), make("p", {}, "It was deleted, or never was."));
      if (moved) main.querySelector("h1").focus();
    } else tell(error);
  }
}

function signedIn(is) {
  document.getElementById("enter").hidden = is;
  for (const id of ["app", "pages", "leave"]) document.getElementById(id).hidden = !is;
}

function leave(text) {
  token = "";
  [shown, last] = ["", null];
  round += 1;
  sessionStorage.removeItem("token");
  signedIn(false);
  main.replaceChildren();
  document.title = "Emulated Graph";
  document.getElementById("token-wrong").textContent = text;
  document.getElementById("token").value = "";
  document.getElementById("token").focus();
}

document.getElementById("enter").addEventListener("submit", async (event) => {
  event.preventDefault();
  token = document.getElementById("token").value.trim();
  sessionStorage.setItem("token", token);
  document.getElementById("token-wrong").textContent = "";
  await look({ moved: true });
});
document.getElementById("leave").addEventListener("click", () => { leave(""); say(""); });
window.addEventListener("hashchange", () => {
  if (token && location.hash !== "#main") look({ moved: true });
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  (token ? main : document.getElementById("token")).focus();
});
setInterval(() => {
  // an opened message does not change, and whoever reads its source is not to be disturbed
  if (token && !document.hidden && place().names[0] !== "message") look();
}, EVERY);
if (token) look();
else document.getElementById("token").focus();
