// What a reader has chosen. It stands in the address behind `#`, so that a link to a finding works from a file.

import { LANGUAGES, type Language, preferred } from "./language";

export type Tab = "waterfall" | "modules" | "hosts" | "why" | "compare";
export const TABS: Tab[] = ["waterfall", "modules", "hosts", "why", "compare"];
export type Group = "none" | "module" | "host";
export const GROUPS: Group[] = ["none", "module", "host"];
export type Theme = "auto" | "light" | "dark";
export const THEMES: Theme[] = ["auto", "light", "dark"];

export interface State {
  tab: Tab;
  group: Group;
  filter: string;
  /** The code of a finding, or empty. */
  finding: string;
  /** The key of the exchange that is shown, or empty. */
  row: string;
  /** What of the time axis is shown, microseconds, or null for all. */
  zoom: [number, number] | null;
  theme: Theme;
  language: Language;
  /** Whether single keys do something. */
  keys: boolean;
}

export const START: State = {
  tab: "waterfall",
  group: "none",
  filter: "",
  finding: "",
  row: "",
  zoom: null,
  theme: "auto",
  language: preferred(),
  keys: true,
};

const among = <T extends string>(all: readonly T[], text: string | null, otherwise: T): T =>
  all.find((one) => one === text) ?? otherwise;

/** The state that an address's fragment names; what it does not name, or names wrongly, is as at the start. */
export function parse(hash: string): State {
  const named = new URLSearchParams(hash.replace(/^#/, ""));
  const zoom = (named.get("z") ?? "").split("-").map(Number);
  const [from, to] = zoom;
  const isZoom =
    zoom.length === 2 && from !== undefined && to !== undefined && zoom.every(Number.isSafeInteger) && from >= 0 && from < to;
  return {
    tab: among(TABS, named.get("tab"), START.tab),
    group: among(GROUPS, named.get("g"), START.group),
    filter: named.get("f") ?? "",
    finding: named.get("finding") ?? "",
    row: named.get("id") ?? "",
    zoom: isZoom ? [from, to] : null,
    theme: among(THEMES, named.get("theme"), START.theme),
    language: among(LANGUAGES, named.get("lang"), START.language),
    keys: named.get("keys") !== "off",
  };
}

export function hash(state: State): string {
  const named = new URLSearchParams();
  const put = (key: string, value: string, start: string) => {
    if (value !== start) named.set(key, value);
  };
  put("tab", state.tab, START.tab);
  put("g", state.group, START.group);
  put("f", state.filter, "");
  put("finding", state.finding, "");
  put("id", state.row, "");
  put("z", state.zoom ? state.zoom.map(Math.round).join("-") : "", "");
  put("theme", state.theme, START.theme);
  put("lang", state.language, START.language);
  put("keys", state.keys ? "" : "off", "");
  return named.toString();
}
