// A page in a real browser, in light and dark and three widths: node page.mjs URL [EXPECTED.json].
// Nothing of it is wrong for axe, nothing is an error, nobody else is asked; then every feature by keyboard alone.
import assert from "node:assert/strict";
import { axe, chromium } from "./support.mjs";

const url = process.argv[2];
const shots = process.env.MODTAPE_SHOTS;
const browser = await chromium().launch({
  executablePath: process.env.MODTAPE_CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

/** A page, and what it did that it must not do. */
async function open(options, address = url, script = true) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => {
    const its = new URL(request.url());
    if (its.protocol !== "data:" && its.origin + its.pathname !== new URL(address).origin + new URL(address).pathname)
      wrong.push(`asked ${request.url()}`);
  });
  await page.goto(address);
  if (script) await page.waitForSelector(".page");
  return { context, page, wrong };
}

try {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 800, 390]) {
      // axe is brought in past the page's policy, which the other pages here keep.
      const options = { colorScheme, viewport: { width, height: 900 }, bypassCSP: true };
      const { context, page, wrong } = await open(options);
      await page.evaluate(axe());
      for (const hash of ["", "#g=module", "#tab=modules", "#tab=hosts", "#tab=why", "#tab=compare", "#lang=zh", "#first"]) {
        if (hash === "#first") {
          await page.evaluate(() => (location.hash = ""));
          await page.locator('.grid [role="row"]:not(.titles)').first().click();
        } else await page.evaluate((hash) => (location.hash = hash), hash);
        await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
        const found = await page.evaluate(() => window.axe.run(document));
        const told = found.violations.map((one) => `${one.id}: ${one.nodes[0].html} ${one.nodes[0].failureSummary}`);
        assert.deepEqual(told, [], `${colorScheme} ${width} ${hash}`);
        // Nothing is cut off beyond the right edge.
        const beyond = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(beyond <= 0, `${colorScheme} ${width} ${hash}: ${beyond} px too wide`);
        if (shots) await page.screenshot({ path: `${shots}/${colorScheme}-${width}-${hash.slice(1) || "start"}.png` });
      }
      assert.deepEqual(wrong, [], `${colorScheme} ${width}`);
      await context.close();
    }
  }

  const { context, page, wrong } = await open({ viewport: { width: 1280, height: 900 } });
  const key = (name) => page.keyboard.press(name);
  const says = (selector) => page.locator(selector).first().innerText();
  const becomes = (selector, text) =>
    page.waitForFunction(([selector, text]) => document.querySelector(selector)?.textContent.startsWith(text), [
      selector,
      text,
    ]);
  const count = (selector, number) =>
    page.waitForFunction(([selector, number]) => document.querySelectorAll(selector).length === number, [selector, number]);
  const SELECTED = '[role="tab"][aria-selected="true"]';
  const all = Number((await says("#filter-says")).split(" of ")[1].replaceAll(",", ""));
  assert.ok(all > 0);
  // Filter, what it takes, its errors at a column.
  await key("/");
  await page.keyboard.type("kind:nothing");
  await becomes("#filter-says", 'column 6: nothing is called "nothing" here');
  await page.keyboard.press("Control+A");
  await page.keyboard.type("id:1");
  await becomes("#filter-says", "1 of");
  await page.waitForURL(/#f=id%3A1$/);
  await page.keyboard.press("Control+A");
  await key("Delete");
  // The grid by keys; the first line is the current one.
  await page.locator(".grid").focus();
  await key("j");
  await key("k");
  await key("End");
  await key("Home");
  await key("Enter");
  await page.waitForSelector(".detail");
  assert.match(await says(".detail h2"), /^#\d/);
  await count('[role="row"][aria-selected="true"]', 1);
  await key("z");
  await page.waitForURL(/z=\d+-\d+/);
  await key("0");
  await key("Escape");
  await count(".detail", 0);
  // Groups, which fold.
  await key("g");
  await page.waitForSelector(".line.head");
  await key("Home");
  await key("Enter");
  await count('.line.head[aria-expanded="false"]', 1);
  await key("g");
  await key("g");
  // Findings, views, theme, help.
  await key(".");
  await key(",");
  for (const [digit, view] of ["waterfall", "modules", "hosts", "why", "compare"].entries()) {
    await key(String(digit + 1));
    await becomes(SELECTED, view);
  }
  await page.locator(SELECTED).focus();
  await key("ArrowRight");
  await becomes(SELECTED, "waterfall");
  // The other language, and back.
  await key("l");
  await becomes(SELECTED, "瀑布图");
  await key("l");
  await key("t");
  await page.waitForFunction(() => document.documentElement.dataset.theme === "light");
  await key("?");
  await page.waitForSelector(".keys");
  await key("Escape");
  await count(".keys", 0);
  // Another page, to compare with: here, the same.
  await key("5");
  await page.locator('input[type="file"]').setInputFiles(new URL(url).pathname);
  await page.waitForSelector(".compared tbody tr");
  assert.deepEqual(wrong, []);
  await context.close();

  // A link to a finding, or to an exchange, works from a file.
  const linked = await open({}, `${url}#tab=hosts&theme=dark`);
  assert.equal(await linked.page.locator('[role="tab"][aria-selected="true"]').innerText(), "hosts");
  await linked.context.close();
  // Whoever lets no script run still reads what is wrong.
  const plain = await open({ javaScriptEnabled: false }, url, false);
  assert.match(await plain.page.locator("body").innerText(), /needs JavaScript/);
  await plain.context.close();
  const texts = await open({});
  console.log(
    JSON.stringify({
      rows: all,
      title: await texts.page.title(),
      sentence: await texts.page.locator(".sentence").innerText(),
      what: await texts.page.locator(".line .what").allInnerTexts(),
    }),
  );
} finally {
  await browser.close();
}
