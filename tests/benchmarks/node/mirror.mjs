// A first sync by imapflow and pg: the fields that mailsync asks for, upserted 500 at a time.
//
// It gets what a good program would have: one FETCH a folder, rows read while the batch before is stored, one
// prepared multi-row INSERT a batch, which is a transaction of its own. It writes no attachments, events or cursors.
//
// From the environment: IMAP_HOST, IMAP_PORT, IMAP_USER, IMAP_PASSWORD; ACCOUNT_ID, SCHEMA; libpq's PGHOST and so on.
// Prints how many messages it has stored.

import { ImapFlow } from "imapflow";
import pg from "pg";

const BATCH = 500;
const { env } = process;

// ENVELOPE has the other fields of mailsync's list
const HEADERS = [
  "References", "List-Id", "List-Unsubscribe", "Auto-Submitted", "Precedence", "X-Auto-Response-Suppress",
  "Return-Path",
];
const QUERY = {
  uid: true, flags: true, internalDate: true, size: true, envelope: true, bodyStructure: true, headers: HEADERS,
};

const KEY = ["account_id", "folder_id", "uidvalidity", "uid"];
const FIELDS = [
  "modseq", "flags", "internal_date", "size_bytes", "message_id", "in_reply_to", "references_header",
  "reference_ids", "sent_at", "subject", "from_email", "from_name", "reply_to_emails", "to_emails", "to_names",
  "cc_emails", "cc_names", "bcc_emails", "list_id", "is_automated", "has_attachments", "mime_structure",
];
const COLUMNS = [...KEY, ...FIELDS];

function insertStatement(rows) {
  const tuples = Array.from({ length: rows }, (_, row) =>
    `(${COLUMNS.map((_, column) => `$${row * COLUMNS.length + column + 1}`).join(",")})`);
  return `insert into "${env.SCHEMA}".messages (${COLUMNS.join(",")}) values ${tuples.join(",")}
    on conflict (${KEY.join(",")}) do update
    set ${FIELDS.map((name) => `${name} = excluded.${name}`).join(",")}, updated_at = now(),
        deleted_at = null, deleted_reason = null`;
}

const statements = new Map();

async function store(db, rows) {
  if (!statements.has(rows.length)) statements.set(rows.length, insertStatement(rows.length));
  await db.query({ name: `upsert-${rows.length}`, text: statements.get(rows.length), values: rows.flat() });
}

function headerFields(block) {
  const fields = new Map();
  for (const line of block.toString("latin1").replace(/\r?\n[ \t]+/g, " ").split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon > 0) fields.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return fields;
}

const ids = (text) => Array.from((text ?? "").matchAll(/<([^<>\s]+)>/g), (match) => match[1]);
const emails = (list) => (list ?? []).map((one) => one.address.toLowerCase());
const names = (list) => (list ?? []).map((one) => one.name || null);
const whole = (date) => (date instanceof Date ? date : null);

function isAutomated(fields) {
  const submitted = fields.get("auto-submitted");
  return (submitted !== undefined && !/^no\b/i.test(submitted))
    || fields.has("list-id") || fields.has("list-unsubscribe") || fields.has("x-auto-response-suppress")
    || /^(bulk|list|junk)$/i.test(fields.get("precedence") ?? "") || fields.get("return-path") === "<>";
}

function hasAttachments(part) {
  return part?.disposition === "attachment" || (part?.childNodes ?? []).some(hasAttachments);
}

function row(folder, uidvalidity, message) {
  const { envelope, bodyStructure } = message;
  const fields = headerFields(message.headers);
  const references = fields.get("references") ?? null;
  const [from] = envelope.from ?? [];
  return [
    env.ACCOUNT_ID, folder, uidvalidity, message.uid,
    message.modseq ?? null, [...message.flags], message.internalDate, message.size,
    ids(envelope.messageId)[0] ?? null, ids(envelope.inReplyTo)[0] ?? null, references, ids(references),
    whole(envelope.date), envelope.subject ?? null, from?.address.toLowerCase() ?? null, from?.name || null,
    emails(envelope.replyTo), emails(envelope.to), names(envelope.to), emails(envelope.cc), names(envelope.cc),
    emails(envelope.bcc), ids(fields.get("list-id"))[0] ?? null, isAutomated(fields),
    hasAttachments(bodyStructure), JSON.stringify(bodyStructure),
  ];
}

async function mirror(client, db, path, folder) {
  const lock = await client.getMailboxLock(path, { readOnly: true });
  let count = 0;
  try {
    if (!client.mailbox.exists) return 0;
    let batch = [], storing = Promise.resolve();
    for await (const message of client.fetch("1:*", QUERY, { uid: true })) {
      batch.push(row(folder, client.mailbox.uidValidity, message));
      if (batch.length === BATCH) {
        await storing;
        storing = store(db, batch);
        count += batch.length;
        batch = [];
      }
    }
    await storing;
    if (batch.length) await store(db, batch);
    count += batch.length;
  } finally {
    lock.release();
  }
  return count;
}

const client = new ImapFlow({
  host: env.IMAP_HOST, port: Number(env.IMAP_PORT), secure: false, doSTARTTLS: false, logger: false,
  auth: { user: env.IMAP_USER, pass: env.IMAP_PASSWORD },
});
const db = new pg.Client();
await Promise.all([client.connect(), db.connect()]);
let total = 0;
for (const { path } of await client.list()) {
  const found = await db.query(
    `insert into "${env.SCHEMA}".folders (account_id, wire_name, path) values ($1, convert_to($2, 'UTF8'), $2)
     returning id`,
    [env.ACCOUNT_ID, path],
  );
  total += await mirror(client, db, path, found.rows[0].id);
}
await Promise.all([client.logout(), db.end()]);
console.log(total);
