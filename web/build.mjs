// Bundles the page into src/report/, where the program embeds it: one script, one style sheet.
// With --check nothing is written; the exit code is 1 if what stands there is not what comes out here.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const bundle = async (entry, options) => {
  const result = await build({
    entryPoints: [at(entry)],
    bundle: true,
    minify: true,
    write: false,
    legalComments: "none",
    charset: "utf8",
    target: ["chrome123", "firefox121", "safari17.5"],
    ...options,
  });
  return result.outputFiles[0].text;
};

const made = {
  "../src/report/page.js": await bundle("src/main.tsx", {
    format: "iife",
    jsx: "automatic",
    jsxImportSource: "preact",
  }),
  "../src/report/page.css": await bundle("src/page.css", {}),
};
let differs = false;
for (const [path, text] of Object.entries(made)) {
  if (process.argv.includes("--check")) {
    if (readFileSync(at(path), "utf8") !== text) {
      console.error(`${path} is not what web/ makes: run \`npm run build\` in web/`);
      differs = true;
    }
  } else {
    writeFileSync(at(path), text);
  }
}
process.exitCode = differs ? 1 : 0;
