// How fast a page is: node speed.mjs URL [ROUNDS]. Figures are milliseconds; `benches/README.md` says how to read them.
import { chromium } from "./support.mjs";

const [url, rounds = "5"] = process.argv.slice(2);
const browser = await chromium().launch({
  executablePath: process.env.MODTAPE_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
});
const quantile = (all, part) => all.sort((a, b) => a - b)[Math.min(all.length - 1, Math.floor(all.length * part))];
const figures = [];
for (let round = 0; round < Number(rounds); round++) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  await page.goto(url);
  await page.waitForSelector(".page");
  const ready = await page.evaluate(() => performance.getEntriesByName("ready")[0]?.startTime ?? performance.now());
  const filter = await page.evaluate(async () => {
    const input = document.querySelector(".tools input");
    const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
    const times = [];
    for (const text of ["k", "kind:zip", "kind:zip module:*99*", ""]) {
      const begin = performance.now();
      set.call(input, text);
      input.dispatchEvent(new Event("input", { bubbles: true }));
      await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
      times.push(performance.now() - begin);
    }
    return Math.max(...times);
  });
  const frames = await page.evaluate(async () => {
    const grid = document.querySelector(".grid");
    const times = [];
    let last = performance.now();
    for (let step = 0; step < 120; step++) {
      grid.scrollTop += 2_000;
      await new Promise((done) => requestAnimationFrame(done));
      times.push(performance.now() - last);
      last = performance.now();
    }
    return times;
  });
  const nodes = await page.evaluate(() => document.querySelectorAll("*").length);
  figures.push({ ready, filter, p50: quantile(frames, 0.5), p95: quantile(frames, 0.95), nodes });
  await page.close();
}
await browser.close();
for (const key of Object.keys(figures[0])) {
  const all = figures.map((one) => one[key]);
  console.log(key, "median", quantile(all, 0.5).toFixed(0), "worst", Math.max(...all).toFixed(0));
}
