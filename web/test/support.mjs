// Where the packages are: beside the sources, or in the folder that MODTAPE_WEB names.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const root = process.env.MODTAPE_WEB ?? fileURLToPath(new URL("..", import.meta.url));
const require = createRequire(`${root}/package.json`);

export const esbuild = () => require("esbuild");
export const chromium = () => require("playwright-core").chromium;
export const axe = () => require("axe-core").source;
export const web = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
