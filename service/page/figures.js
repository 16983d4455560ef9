/** What the status page tells, from two looks at the metrics: pure functions, no elements. */

import { buckets, by, named, quantile, since, sum } from "./metrics.js";

/** Whose requests are not readers' or publishers'. */
const OWN = /^(\/|\/status|\/page\/.*|\/metrics|\/health\/.*)$/;
const COUNT = "newsbert_request_seconds_count";
const BUCKET = "newsbert_request_seconds_bucket";
const isTheirs = (labels) => !OWN.test(labels.route);

/** @typedef {{at: number, measured: import("./metrics.js").Measured[]}} Look `at` in seconds */

/**
 * Tell of the requests between two looks.
 * @param {Look} now
 * @param {Look|null} before
 * @returns {{rate: number|null, p50: number|null, p95: number|null, p99: number|null}} a second, s
 */
export function traffic(now, before) {
  if (!before) return { rate: null, p50: null, p95: null, p99: null };
  const of = (look) => buckets(named(look.measured, BUCKET, isTheirs));
  const grown = since(of(now), of(before));
  const count = grown.at(-1)?.[1] ?? 0;
  const [p50, p95, p99] = [0.5, 0.95, 0.99].map((q) => quantile(grown, q));
  return { rate: count / (now.at - before.at), p50, p95, p99 };
}

/** List the routes with their requests, percentiles and errors since the start, busiest first. */
export function routes({ measured }) {
  const counts = by(named(measured, COUNT), "route");
  const isError = (labels) => Number(labels.status) >= 400;
  const errors = by(named(measured, COUNT, isError), "route");
  const told = [...counts].map(([route, count]) => {
    const cumulative = buckets(named(measured, BUCKET, (labels) => labels.route === route));
    const [p50, p99] = [0.5, 0.99].map((q) => quantile(cumulative, q));
    return { route, count, p50, p99, errors: errors.get(route) ?? 0 };
  });
  return told.sort((a, b) => b.count - a.count || a.route.localeCompare(b.route));
}

/** List the strategies with their pages, since the start and between two looks. */
export function strategies(now, before) {
  const of = (look) => by(named(look.measured, "newsbert_pages_total"), "strategy");
  const [counts, earlier] = [of(now), before ? of(before) : new Map()];
  const told = [...counts].map(([strategy, count]) => {
    const recent = count - (earlier.get(strategy) ?? 0);
    return { strategy, count, recent: before && recent >= 0 ? recent : null };
  });
  return told.sort((a, b) => b.count - a.count);
}

/** Return a gauge or counter by name, null where there is none. */
export function value({ measured }, name) {
  return sum(named(measured, name));
}

/** Return the labels of the model that serves. */
export function model({ measured }) {
  return named(measured, "newsbert_model_info")[0]?.labels ?? { model: "–", namespace: "–" };
}

/** Return how many published texts had a vector already, and their share; null without any. */
export function known({ measured }) {
  const sums = by(named(measured, "newsbert_texts_total"), "vector");
  const hits = sums.get("known") ?? 0;
  const all = hits + (sums.get("encoded") ?? 0);
  return { hits, share: all ? hits / all : null };
}
