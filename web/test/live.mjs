// The page of a running `modtape view`: node live.mjs URL PID. It ends that process, and sees that the page says so.
import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { chromium } from "./support.mjs";

const [url, pid] = process.argv.slice(2);
const browser = await chromium().launch({
  executablePath: process.env.MODTAPE_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
});
try {
  const page = await browser.newPage();
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => [new URL(url).host, ""].includes(new URL(request.url()).host) || wrong.push(request.url()));
  // As `view` opens it: by a file, from which a browser goes on.
  const file = `${mkdtempSync(`${tmpdir()}/live-`)}/open.html`;
  writeFileSync(file, `<!doctype html><meta http-equiv="refresh" content="0; url=${url}">`);
  await page.goto(`file://${file}`);
  await page.waitForSelector(".page");
  // The token is not left where it can be seen, or copied with a link.
  assert.doesNotMatch(page.url(), /token/);
  assert.match(await page.locator(".facts").innerText(), /ended/);
  const rows = await page.locator("#filter-says").innerText();
  await page.reload();
  await page.waitForSelector(".page");
  assert.equal(await page.locator("#filter-says").innerText(), rows);
  assert.deepEqual(wrong, []);
  process.kill(Number(pid), "SIGINT");
  await page.waitForFunction(() => document.querySelector(".facts").textContent.includes("does not answer"));
  assert.equal(await page.locator("#filter-says").innerText(), rows);
} finally {
  await browser.close();
}
