/** Prometheus' text format: read, summed, compared over time, and percentiles of histograms. */

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPED = { "\\\\": "\\", '\\"': '"', "\\n": "\n" };

/** @typedef {{name: string, labels: Record<string, string>, value: number}} Measured */

/**
 * Read a page of metrics.
 * @param {string} text
 * @returns {Measured[]}
 */
export function read(text) {
  const found = [];
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : LINE.exec(line);
    if (match) found.push({ name: match[1], labels: labels(match[2] ?? ""), value: number(match[3]) });
  }
  return found;
}

function labels(text) {
  const pairs = [...text.matchAll(LABEL)].map(([, name, value]) => [name, unescaped(value)]);
  return Object.fromEntries(pairs);
}

function unescaped(value) {
  return value.replace(/\\[\\"n]/g, (one) => ESCAPED[one]);
}

function number(text) {
  if (text.endsWith("Inf")) return text.startsWith("-") ? -Infinity : Infinity;
  return Number(text);
}

/** Return the measured values of a name; `where` may choose by labels. */
export function named(measured, name, where = () => true) {
  return measured.filter((one) => one.name === name && where(one.labels));
}

/** Sum values; null where there are none, as that is not zero. */
export function sum(measured) {
  return measured.length ? measured.reduce((total, one) => total + one.value, 0) : null;
}

/** Sum values by a label: label -> sum. */
export function by(measured, label) {
  const sums = new Map();
  for (const { labels: of, value } of measured) {
    sums.set(of[label], (sums.get(of[label]) ?? 0) + value);
  }
  return sums;
}

/**
 * Sum buckets of histograms: [upper bound, cumulative count], by bound.
 * @param {Measured[]} measured buckets of any number of histograms with the same bounds
 * @returns {Array<[number, number]>}
 */
export function buckets(measured) {
  const sums = [...by(measured, "le")].map(([bound, count]) => [number(bound), count]);
  return sums.sort((a, b) => a[0] - b[0]);
}

/** What came into buckets since an earlier look; all of it where the process has begun anew. */
export function since(now, before) {
  const earlier = new Map(before);
  const grown = now.map(([bound, count]) => [bound, count - (earlier.get(bound) ?? 0)]);
  return grown.some(([, count]) => count < 0) ? now : grown;
}

/**
 * Estimate a quantile as Prometheus does: evenly spread within its bucket.
 * @param {Array<[number, number]>} cumulative
 * @param {number} q between 0 and 1
 * @returns {number|null} null of an empty histogram; at most the highest finite bound
 */
export function quantile(cumulative, q) {
  const total = cumulative.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  const rank = q * total;
  const i = cumulative.findIndex(([, count]) => count >= rank);
  const [bound, count] = cumulative[i];
  const [low, below] = i > 0 ? cumulative[i - 1] : [0, 0];
  if (bound === Infinity) return low;
  return count > below ? low + ((bound - low) * (rank - below)) / (count - below) : bound;
}
