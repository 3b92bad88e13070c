// Reads a HAR as its strictest readers do: the schema, har-to-k6, and what the importers of Chrome,
// Firefox, WebKit, mitmproxy and haralyzer insist on beyond the schema.
//
//     node check.js FILE.har      silent and 0 if nothing is wrong
//
// Needs har-validator and har-to-k6 (package.json beside this file) in the node_modules folder that
// MODTAPE_HAR_JS or NODE_PATH names. Never writes a file.
"use strict";

const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");

function load(name) {
  const folder = process.env.MODTAPE_HAR_JS;
  return require(folder ? path.join(path.resolve(folder), name) : name);
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isCount = (value) => Number.isInteger(value) && value >= -1;
const isDate = (text) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9}Z$/.test(text) && !isNaN(Date.parse(text));
const isPair = (pair) => isObject(pair) && typeof pair.name === "string" && typeof pair.value === "string";
const duration = (value) => (typeof value === "number" && value > 0 ? value : 0);

// Each rule: what must hold, and for whom. `entry` rules get the entry and the ids of all pages.
const FILE_RULES = [
  ["no byte order mark", (_log, text) => text.charCodeAt(0) !== 0xfeff],
  ["version 1.2", (log) => log.version === "1.2"],
  ["a creator with name and version", (log) => Boolean(log.creator?.name && log.creator?.version)],
  ["at least one page (Firefox throws, WebKit refuses)", (log) => log.pages?.length > 0],
  ["pages with id, title, date and timings of -1", (log) => log.pages.every(isPage)],
  ["page ids that differ", (log) => new Set(log.pages.map((page) => page.id)).size === log.pages.length],
  ["entries as a list", (log) => Array.isArray(log.entries)],
  ["entries of one page sorted by start", isSorted],
];

const ENTRY_RULES = [
  ["a pageref that names a page (haralyzer, PerfCascade)", (entry, pages) => pages.has(entry.pageref)],
  ["a UTC start with a fraction", (entry) => isDate(entry.startedDateTime)],
  ["a time of at least 0 (mitmproxy)", (entry) => typeof entry.time === "number" && entry.time >= 0],
  ["a time that is the sum of its timings without ssl", sumsUp],
  ["send, wait and receive of at least 0", ({ timings: t }) => [t.send, t.wait, t.receive].every((ms) => ms >= 0)],
  ["blocked, dns, connect and ssl of -1 or more", ({ timings: t }) => [t.blocked, t.dns, t.connect, t.ssl].every((ms) => ms === -1 || ms >= 0)],
  ["ssl contained in connect (Chrome subtracts it)", ({ timings: t }) => t.ssl <= t.connect],
  ["a cache object (Firefox throws)", (entry) => isObject(entry.cache)],
  ["an _initiator that is an object (Chrome throws)", (entry) => isObject(entry._initiator)],
  ["_resourceType fetch", (entry) => entry._resourceType === "fetch"],
  ["a known request version (mitmproxy)", ({ request }) => ["HTTP/1.0", "HTTP/1.1", "HTTP/2"].includes(request.httpVersion)],
  ["sizes everywhere (Chrome throws)", ({ request, response }) => [request, response].every((message) => isCount(message.headersSize) && isCount(message.bodySize))],
  ["lists of pairs everywhere", hasPairs],
  ["post data with a text (mitmproxy)", ({ request }) => !request.postData || typeof request.postData.text === "string"],
  ["a response object, status 0 only with _error", hasResponse],
  ["a _transferSize of at least 0", ({ response }) => response._transferSize >= 0],
  ["a mimeType that is not empty", ({ response }) => response.content.mimeType !== ""],
  ["a text as long as its size", hasWholeText],
  ["a server address without brackets, or none", ({ serverIPAddress: ip }) => ip === undefined || net.isIP(ip) > 0],
  ["a connection that is a port, or none", ({ connection: port }) => port === undefined || /^\d{1,5}$/.test(port)],
  ["a _connectionId that is a string", (entry) => typeof entry._connectionId === "string"],
  ["a _traceparent", (entry) => /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/.test(entry._traceparent)],
  ["_modtape with id and outcome", ({ _modtape: m }) => Number.isInteger(m?.id) && ["ok", "probe", "fallthrough", "error", "modtape", "aborted", "in-flight"].includes(m.outcome)],
  ["no custom field without an underscore", (entry) => Object.keys(entry).every((key) => key.startsWith("_") || ENTRY_FIELDS.has(key))],
];

const ENTRY_FIELDS = new Set(
  ["pageref", "startedDateTime", "time", "request", "response", "cache", "timings", "serverIPAddress", "connection", "comment"],
);

function isPage(page) {
  const { onContentLoad, onLoad } = page.pageTimings ?? {};
  return Boolean(page.id && page.title) && isDate(page.startedDateTime) && onContentLoad === -1 && onLoad === -1;
}

function isSorted(log) {
  const last = new Map();
  return log.entries.every(({ pageref, startedDateTime }) => {
    const isLater = startedDateTime >= (last.get(pageref) ?? "");
    last.set(pageref, startedDateTime);
    return isLater;
  });
}

function sumsUp({ time, timings: t }) {
  const sum = [t.blocked, t.dns, t.connect, t.send, t.wait, t.receive].map(duration).reduce((a, b) => a + b);
  return Math.abs(time - sum) < 0.0005;
}

function hasPairs({ request, response }) {
  const lists = [request.headers, request.cookies, request.queryString, response.headers, response.cookies];
  return lists.every((list) => Array.isArray(list) && list.every(isPair));
}

function hasResponse({ response }) {
  const hasFailed = typeof response?._error === "string" && response.status === 0 && response.httpVersion === "" && response.content.size === 0;
  return isObject(response) && (hasFailed || (response.status >= 100 && response.httpVersion !== ""));
}

function hasWholeText({ response: { content } }) {
  if (content.text === undefined) return content.encoding === undefined;
  return Buffer.from(content.text, content.encoding ?? "utf8").length === content.size;
}

function* broken(text) {
  const { log } = JSON.parse(text);
  for (const [rule, holds] of FILE_RULES) {
    if (!attempt(() => holds(log, text))) yield `not ${rule}`;
  }
  const pages = new Set((log.pages ?? []).map((page) => page.id));
  for (const [index, entry] of (log.entries ?? []).entries()) {
    for (const [rule, holds] of ENTRY_RULES) {
      if (!attempt(() => holds(entry, pages))) yield `entry ${index} (${entry.request?.url}): not ${rule}`;
    }
  }
}

function attempt(holds) {
  try {
    return holds();
  } catch {
    return false;
  }
}

async function* refused(text) {
  try {
    await load("har-validator").har(JSON.parse(text));
  } catch (error) {
    yield `har-validator: ${JSON.stringify(error.errors ?? error.message)}`;
  }
  try {
    const har = JSON.parse(text);
    const { main } = await load("har-to-k6").liHARToK6Script(har);
    if (har.log.entries.length > 0 && !main.includes("http.")) yield "har-to-k6: a script without requests";
  } catch (error) {
    yield `har-to-k6: ${error.name}: ${error.message}`;
  }
}

async function main(file) {
  const text = fs.readFileSync(file, "utf8");
  const wrong = [...broken(text)];
  for await (const reason of refused(text)) wrong.push(reason);
  for (const reason of wrong) console.error(`${file}: ${reason}`);
  process.exitCode = wrong.length === 0 ? 0 : 1;
}

if (process.argv.length !== 3) {
  console.error("usage: node check.js FILE.har");
  process.exitCode = 64;
} else {
  main(process.argv[2]);
}
