/** Why an article has its place: what of the history weighed how much, and the parts of its score. */

import { drawn, element } from "./elements.js";
import { short, signed } from "./words.js";

const PARTS = {
  user: "all that you read, weighed",
  attention: "what you read that is closest",
  content: "what readers like in general",
  popularity: "clicks of others",
  freshness: "its age",
  diversity: "too like others on this page",
};
const WIDTH = 120;

/**
 * Say in one line what of the history an article owes most to.
 * @param {{history: Array<{id: string, weight: number}>}} reasons
 * @param {Map<string, string>} titles of what was read
 */
export function because(reasons, titles) {
  const first = reasons.history.find((one) => one.weight > 0);
  return first ? ["Because you read ", quoted(titles.get(first.id) || first.id)] : [];
}

/** List the read articles by their weight, and the parts of a score with their sum. */
export function explained(reasons, score, titles) {
  const parts = Object.entries(reasons.parts).filter(([, part]) => part !== 0);
  const sizes = [...reasons.history.map((one) => one.weight), ...parts.map(([, part]) => part)];
  const most = Math.max(1e-9, ...sizes.map(Math.abs));
  const read = reasons.history.map((one) =>
    row(quoted(titles.get(one.id) || one.id), one.weight, most),
  );
  const summed = parts.map(([name, part]) => row(PARTS[name] ?? name, part, most));
  const tables = [];
  if (read.length) tables.push(table("What you read, and its weight", read));
  tables.push(table(`Parts of the score ${short(score)}`, summed));
  return tables;
}

function quoted(title) {
  return element("q", { dir: "auto" }, title);
}

function table(caption, rows) {
  const body = element("tbody", {}, ...rows);
  return element("table", { class: "parts" }, element("caption", {}, caption), body);
}

function row(name, part, most) {
  const bar = drawn("svg", { viewBox: `0 0 ${WIDTH} 8`, class: "part", "aria-hidden": "true" });
  const half = WIDTH / 2;
  const width = (half * Math.abs(part)) / most;
  const x = part < 0 ? half - width : half;
  bar.append(drawn("rect", { x, y: 0, width, height: 8, class: part < 0 ? "less" : "more" }));
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, name),
    element("td", {}, bar),
    element("td", { class: "number" }, signed(part)),
  );
}
