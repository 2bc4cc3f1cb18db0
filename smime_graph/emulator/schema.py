"""The tables of a mailbox file, and what brings an older file up to them, one step a version."""

from __future__ import annotations

_FIRST = (
    "CREATE TABLE mailboxes (number INTEGER PRIMARY KEY, address TEXT NOT NULL, "
    "key TEXT NOT NULL UNIQUE, domain TEXT NOT NULL, guid TEXT NOT NULL UNIQUE)",
    "CREATE INDEX mailboxes_domain ON mailboxes (domain)",
    "CREATE TABLE contents (digest BLOB PRIMARY KEY, raw BLOB NOT NULL)",
    "CREATE TABLE messages (number INTEGER PRIMARY KEY, "
    "mailbox INTEGER NOT NULL REFERENCES mailboxes, folder TEXT NOT NULL, "
    "id TEXT NOT NULL UNIQUE, immutable_id TEXT NOT NULL UNIQUE, change_key TEXT NOT NULL, "
    "internet_message_id TEXT NOT NULL, digest BLOB NOT NULL REFERENCES contents, "
    "size INTEGER NOT NULL, is_draft INTEGER NOT NULL, is_read INTEGER NOT NULL, "
    "created REAL NOT NULL, modified REAL NOT NULL, received REAL NOT NULL, sent REAL NOT NULL, "
    "visible_at REAL NOT NULL, shown BLOB NOT NULL REFERENCES contents (digest))",
    "CREATE INDEX messages_folder ON messages (mailbox, folder, received)",
    "CREATE INDEX messages_message_id ON messages (mailbox, internet_message_id)",
    "CREATE INDEX messages_digest ON messages (digest)",
    "CREATE INDEX messages_shown ON messages (shown)",
    "CREATE TABLE outbound (number INTEGER PRIMARY KEY, sender TEXT NOT NULL, "
    "recipient TEXT NOT NULL, internet_message_id TEXT NOT NULL, "
    "digest BLOB NOT NULL REFERENCES contents)",
    "CREATE INDEX outbound_digest ON outbound (digest)",
    "CREATE TABLE known_headers (mailbox INTEGER NOT NULL, name TEXT NOT NULL, "
    "PRIMARY KEY (mailbox, name)) WITHOUT ROWID",
)

_CONTACTS = (
    "CREATE TABLE contacts (number INTEGER PRIMARY KEY, "
    "mailbox INTEGER NOT NULL REFERENCES mailboxes, id TEXT NOT NULL UNIQUE, shown TEXT NOT NULL)",
    "CREATE INDEX contacts_mailbox ON contacts (mailbox)",
)

# What a delta query asks for: one row for each id that a message has had. An id belongs to one
# folder, because moving makes a new one, so a row that is `gone` is what left a folder. Triggers
# write it, so that no way of changing a message can forget to.
_CHANGES = (
    "CREATE TABLE changes (id TEXT PRIMARY KEY, immutable_id TEXT NOT NULL, "
    "mailbox INTEGER NOT NULL, folder TEXT NOT NULL, first INTEGER NOT NULL, "
    "last INTEGER NOT NULL, gone INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
    "CREATE INDEX changes_folder ON changes (mailbox, folder, last)",
    "CREATE INDEX messages_late ON messages (mailbox, folder, visible_at) WHERE visible_at > 0",
    "CREATE TABLE sequence (value INTEGER NOT NULL)",
    "INSERT INTO changes SELECT id, immutable_id, mailbox, folder, number, number, 0 FROM messages",
    "INSERT INTO sequence SELECT coalesce(max(number), 0) FROM messages",
    "CREATE TRIGGER message_comes AFTER INSERT ON messages BEGIN "
    "UPDATE sequence SET value = value + 1; "
    "INSERT OR REPLACE INTO changes SELECT new.id, new.immutable_id, new.mailbox, new.folder, "
    "value, value, 0 FROM sequence; END",
    "CREATE TRIGGER message_changes AFTER UPDATE ON messages WHEN new.id = old.id BEGIN "
    "UPDATE sequence SET value = value + 1; "
    "UPDATE changes SET last = (SELECT value FROM sequence) WHERE id = new.id; END",
    "CREATE TRIGGER message_moves AFTER UPDATE ON messages WHEN new.id <> old.id BEGIN "
    "UPDATE sequence SET value = value + 1; "
    "UPDATE changes SET gone = 1, last = (SELECT value FROM sequence) WHERE id = old.id; "
    "UPDATE sequence SET value = value + 1; "
    "INSERT OR REPLACE INTO changes SELECT new.id, new.immutable_id, new.mailbox, new.folder, "
    "value, value, 0 FROM sequence; END",
    "CREATE TRIGGER message_goes AFTER DELETE ON messages BEGIN "
    "UPDATE sequence SET value = value + 1; "
    "UPDATE changes SET gone = 1, last = (SELECT value FROM sequence) WHERE id = old.id; END",
)

_MORE = (
    # what a client set on a message and no header field says, as JSON
    "ALTER TABLE messages ADD COLUMN marks TEXT NOT NULL DEFAULT '{}'",
    "CREATE TABLE folders (id TEXT PRIMARY KEY, mailbox INTEGER NOT NULL REFERENCES mailboxes, "
    "parent TEXT NOT NULL, name TEXT NOT NULL COLLATE NOCASE, UNIQUE (mailbox, parent, name))",
    "CREATE TABLE uploads (id TEXT PRIMARY KEY, secret TEXT NOT NULL, "
    "message INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE, described TEXT NOT NULL, "
    "size INTEGER NOT NULL, received INTEGER NOT NULL, expires REAL NOT NULL)",
    "CREATE INDEX uploads_message ON uploads (message)",
    "CREATE TABLE chunks (upload TEXT NOT NULL REFERENCES uploads ON DELETE CASCADE, "
    "start INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (upload, start))",
    "CREATE TABLE senders (mailbox INTEGER NOT NULL REFERENCES mailboxes, key TEXT NOT NULL, "
    "on_behalf INTEGER NOT NULL, PRIMARY KEY (mailbox, key)) WITHOUT ROWID",
)

# What is being sent is a draft until it leaves for Sent Items.
_LEAVING = (
    "DROP INDEX messages_late",
    "ALTER TABLE messages RENAME COLUMN visible_at TO leaves_at",
    "UPDATE messages SET leaves_at = 0",
    "CREATE INDEX messages_leaving ON messages (leaves_at) WHERE leaves_at > 0",
)

# The same for the folders that were made, each of which keeps its id; the numbers are of one row.
_FOLDER_CHANGES = (
    "CREATE TABLE folder_changes (id TEXT PRIMARY KEY, mailbox INTEGER NOT NULL, "
    "first INTEGER NOT NULL, last INTEGER NOT NULL, gone INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
    "CREATE INDEX folder_changes_mailbox ON folder_changes (mailbox, last)",
    "INSERT INTO folder_changes "
    "SELECT id, mailbox, value + folders.rowid, value + folders.rowid, 0 FROM folders, sequence",
    "UPDATE sequence SET value = value + coalesce((SELECT max(rowid) FROM folders), 0)",
    "CREATE TRIGGER folder_comes AFTER INSERT ON folders BEGIN "
    "UPDATE sequence SET value = value + 1; "
    "INSERT INTO folder_changes SELECT new.id, new.mailbox, value, value, 0 FROM sequence; END",
    "CREATE TRIGGER folder_alters AFTER UPDATE ON folders BEGIN "
    "UPDATE sequence SET value = value + 1; "
    "UPDATE folder_changes SET last = (SELECT value FROM sequence) WHERE id = new.id; END",
    "CREATE TRIGGER folder_goes AFTER DELETE ON folders BEGIN "
    "UPDATE sequence SET value = value + 1; "
    "UPDATE folder_changes SET gone = 1, last = (SELECT value FROM sequence) "
    "WHERE id = old.id; END",
)

# STEPS[n] brings a file of version n to n + 1
STEPS = (_FIRST, _CONTACTS, _CHANGES, _MORE, _LEAVING, _FOLDER_CHANGES)
