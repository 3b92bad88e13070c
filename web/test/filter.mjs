// The page's filter says what the program's says: both are held against src/filter/vectors.json.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { esbuild, web } from "./support.mjs";

const bundle = esbuild().buildSync({
  entryPoints: [web("src/filter.ts")],
  bundle: true,
  write: false,
  format: "esm",
});
const code = Buffer.from(bundle.outputFiles[0].contents).toString("base64");
const { parse } = await import(`data:text/javascript;base64,${code}`);
const vectors = JSON.parse(readFileSync(web("../src/filter/vectors.json"), "utf8"));
for (const filter of vectors.takes) assert.equal(parse(filter)(vectors.exchange), true, filter);
for (const filter of vectors.leaves) assert.equal(parse(filter)(vectors.exchange), false, filter);
for (const [filter, message] of vectors.errors) {
  assert.throws(
    () => parse(filter),
    (error) => {
      assert.equal(error.message, message, filter);
      return true;
    },
  );
}
