// The page's own words in two languages. What the program found stays in the program's language.

export const LANGUAGES = ["en", "zh"] as const;
export type Language = (typeof LANGUAGES)[number];

const CHINESE: Record<string, string> = {
  // Views and their parts.
  waterfall: "瀑布图",
  modules: "模块",
  hosts: "主机",
  why: "原因",
  compare: "对比",
  Views: "视图",
  Findings: "发现",
  Exchanges: "请求",
  Filter: "筛选",
  Group: "分组",
  none: "不分组",
  module: "模块",
  host: "主机",
  "show all the time": "显示全部时间",
  "Time line": "时间轴",
  // Columns.
  ID: "编号",
  What: "内容",
  Status: "状态",
  Time: "耗时",
  Size: "大小",
  Host: "主机",
  Role: "角色",
  Requests: "请求数",
  Errors: "错误",
  "Wait p50": "等待 p50",
  "Wait p95": "等待 p95",
  Bytes: "字节",
  Dials: "连接次数",
  Addresses: "地址",
  Protocols: "协议",
  Module: "模块",
  "Answered by": "应答者",
  "Others said": "其他源的应答",
  Cost: "代价",
  "Before it, the command's own time": "此前命令自身的时间",
  Took: "耗时",
  Before: "之前",
  After: "之后",
  Change: "变化",
  // Phases.
  blocked: "排队",
  dns: "DNS",
  connect: "连接",
  tls: "TLS",
  send: "发送",
  wait: "等待",
  receive: "接收",
  idle: "空闲",
  own: "modtape 自身",
  // Sentences.
  "Nothing was found that is wrong or slow.": "没有发现错误或缓慢之处。",
  "Try:": "建议：",
  "about {0} instead": "预计约 {0}",
  "and {0} more": "另有 {0} 项",
  "{0} explains it.": "{0} 有详细说明。",
  "{0} of {1}": "{0} / {1}",
  "In flight: {0} at most": "同时进行：最多 {0} 个",
  "GOMAXPROCS is {0}": "GOMAXPROCS 为 {0}",
  "Where the time went": "时间花在哪里",
  "Hosts: what each was asked, and how it did": "主机：各自收到的请求与表现",
  "GOPROXY: modules answered by {0}.": "GOPROXY：模块由 {0} 应答。",
  "{0} for {1}": "{0}（{1} 个）",
  "Below, those for which more than one place was asked.": "下面是询问过不止一个源的模块。",
  "Each was answered by the first place that was asked.": "每个模块都由第一个被询问的源应答。",
  nobody: "无",
  "not reached": "无法连接",
  "Critical chain: each of these {0} waited for the one before; {1} in all. What is not in it could have been faster without the command ending any sooner.":
    "关键链：这 {0} 个请求依次等待前一个，共 {1}。不在链上的请求即使更快，命令也不会更早结束。",
  "Another page of a report, to compare with": "选择另一份报告页面进行对比",
  "That file cannot be compared: {0}": "无法对比该文件：{0}",
  "Choose the page of an earlier recording: its times are the left bars, this one's the right.":
    "选择较早录制的报告页面：左侧为其时间，右侧为本次。",
  "Between {0} and this recording: {1} then, {2} now.": "{0} 与本次录制：当时 {1}，现在 {2}。",
  // One exchange.
  Phases: "阶段",
  "What it said": "返回内容",
  Request: "请求头",
  Response: "响应头",
  copy: "复制",
  copied: "已复制",
  Close: "关闭",
  connection: "连接",
  // The head.
  request: "个请求",
  unfinished: "未完成",
  "exit code {0}": "退出码 {0}",
  "damaged in {0} places": "{0} 处损坏",
  live: "录制中",
  ended: "已结束",
  "modtape does not answer": "modtape 没有应答",
  "save this page": "保存此页面",
  theme: "主题",
  auto: "自动",
  light: "浅色",
  dark: "深色",
  keys: "按键",
  "{0}, recording {1}": "{0}，录制 {1}",
  // Keys.
  filter: "筛选",
  "walk through the exchanges": "在请求间移动",
  "show the exchange, or fold its group": "显示请求，或折叠分组",
  "close what is open": "关闭打开的内容",
  "group by module, by host, or not": "按模块、主机分组或不分组",
  "next and previous finding": "下一个、上一个发现",
  "the views": "切换视图",
  "zoom to the exchange, show all": "缩放到该请求，显示全部",
  "light or dark": "浅色或深色",
  "this list": "显示本列表",
  "single keys": "单键快捷键",
  "Esc, Enter and the arrows work in any case": "Esc、Enter 和方向键始终可用",
};

let language: Language = "en";

export const speak = (to: Language): void => {
  language = to;
  document.documentElement.lang = to === "zh" ? "zh-CN" : "en";
};

export const preferred = (): Language => (navigator.language.startsWith("zh") ? "zh" : "en");

/** The words for a text in the page's language; `{0}` and `{1}` are what follows. */
export function t(text: string, ...values: (string | number)[]): string {
  const words = language === "zh" ? (CHINESE[text] ?? text) : text;
  return words.replace(/\{(\d)\}/g, (_, index: string) => String(values[Number(index)] ?? ""));
}

/** A number of things. */
export const many = (number: number, noun: string): string =>
  language === "zh"
    ? `${number.toLocaleString("en")} ${t(noun)}`
    : `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
