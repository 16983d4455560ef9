/** The operator's page: reads the metrics again and again, and tells what they say. */

import { byId, drawn, element, tell } from "./elements.js";
import * as figures from "./figures.js";
import { read } from "./metrics.js";
import { sparkline } from "./sparkline.js";
import { short } from "./words.js";

const PAUSE_MS = 2_000;
const MINUTE_S = 60;
const ROOM = 31;
/** The looks of the last minute, and what was told after each of them. */
let looks = [];
let told = [];

async function look() {
  try {
    const response = await fetch("/metrics", { cache: "no-store", signal: AbortSignal.timeout(5 * PAUSE_MS) });
    if (!response.ok) throw new Error(String(response.status));
    note({ at: performance.now() / 1_000, measured: read(await response.text()) });
    tell(byId("trouble"), "");
  } catch (error) {
    tell(byId("trouble"), `The metrics cannot be read (${error.message}). What you see may be old.`);
  }
}

function note(now) {
  const last = looks.at(-1) ?? null;
  looks = [...looks, now].filter((one) => now.at - one.at <= MINUTE_S + 1);
  const first = looks.length > 1 ? looks[0] : null;
  const minute = figures.traffic(now, first);
  const moment = figures.traffic(now, last);
  const line = {
    rate: moment.rate,
    p95: moment.p95,
    flight: figures.value(now, "newsbert_requests_in_flight"),
    waiting: figures.value(now, "newsbert_encoder_waiting"),
  };
  told = [...told, line].slice(-ROOM);
  showRequests(now, minute);
  showCatalogue(now);
  showEncoder(now);
  showStrategies(figures.strategies(now, first));
  showRoutes(figures.routes(now));
}

function showRequests(now, { rate, p50, p95, p99 }) {
  const spark = (name) => sparkline(told.map((one) => one[name]), ROOM);
  cards("requests", [
    ["Requests a second", plain(rate), spark("rate")],
    ["Median latency", time(p50)],
    ["95 of 100 within", time(p95), spark("p95")],
    ["99 of 100 within", time(p99)],
    // This very request for the metrics is one of them.
    ["In flight", whole(figures.value(now, "newsbert_requests_in_flight")), spark("flight")],
    ["Shed since the start", whole(figures.value(now, "newsbert_requests_shed_total"))],
  ]);
}

function showCatalogue(now) {
  const { model, namespace } = figures.model(now);
  const up = figures.value(now, "newsbert_store_up");
  cards("catalogue", [
    ["Articles", whole(figures.value(now, "newsbert_articles"))],
    ["Of these in an index", indexed(figures.value(now, "newsbert_index_rows"))],
    ["Last change taken over", since(figures.value(now, "newsbert_snapshot_changed_timestamp_seconds"))],
    ["Known to equal the store", since(figures.value(now, "newsbert_snapshot_confirmed_timestamp_seconds"))],
    ["Store", up === null ? "–" : up ? "answers" : "does not answer"],
    ["Model", model],
    ["Namespace", namespace],
    ["Generation", whole(figures.value(now, "newsbert_generation"))],
  ]);
}

function showEncoder(now) {
  const { hits, share } = figures.known(now);
  cards("encoder", [
    ["Texts waiting", whole(figures.value(now, "newsbert_encoder_waiting")),
      sparkline(told.map((one) => one.waiting), ROOM)],
    ["Published with a known vector", whole(hits)],
    ["Share of known vectors", share === null ? "–" : `${Math.round(100 * share)} %`],
  ]);
}

function showStrategies(rows) {
  const all = rows.reduce((sum, one) => sum + one.count, 0) || 1;
  const made = rows.map(({ strategy, count, recent }) =>
    row(strategy, [whole(count), whole(recent)], bar(count / all)),
  );
  byId("strategies").replaceChildren(...(made.length ? made : [row("none yet", ["0", "0"], "")]));
}

function showRoutes(rows) {
  const made = rows.map(({ route, count, p50, p99, errors }) =>
    row(route, [whole(count), time(p50), time(p99), whole(errors)]),
  );
  byId("routes").replaceChildren(...made);
}

/** Show figures under their names; elements stay, so that a reader's place does. */
function cards(id, rows) {
  const list = byId(id);
  if (!list.children.length) {
    const made = rows.map(([name]) =>
      element("div", {}, element("dt", {}, name), element("dd"), element("dd", { class: "line" })),
    );
    list.replaceChildren(...made);
  }
  rows.forEach(([, figure, line], i) => {
    const [, place, drawing] = list.children[i].children;
    tell(place, figure);
    drawing.hidden = !line;
    if (line) drawing.replaceChildren(line);
  });
}

function row(name, numbers, ...more) {
  const cells = numbers.map((one) => element("td", { class: "number" }, one));
  const others = more.map((one) => element("td", {}, one));
  return element("tr", {}, element("th", { scope: "row" }, name), ...cells, ...others);
}

function bar(share) {
  const box = { viewBox: "0 0 100 8", preserveAspectRatio: "none" };
  const filled = drawn("rect", { width: 100 * share, height: 8 });
  return drawn("svg", { ...box, class: "bar", "aria-hidden": "true" }, filled);
}

const plain = (number) => (number === null ? "–" : short(number));
const whole = (number) => (number === null ? "–" : Math.round(number).toLocaleString("en"));
const indexed = (rows) => (rows === 0 ? "none, all are searched" : whole(rows));
const time = (seconds) => (seconds === null ? "–" : `${short(1e3 * seconds)} ms`);

function since(epoch) {
  if (!epoch) return "–";
  const seconds = Math.max(0, Date.now() / 1_000 - epoch);
  if (seconds < 2) return "now";
  return seconds < 120 ? `${Math.round(seconds)} s ago` : `${whole(seconds / 60)} min ago`;
}

await look();
document.documentElement.dataset.ready = Math.round(performance.now());
for (;;) {
  await new Promise((done) => setTimeout(done, PAUSE_MS));
  // One look after the other: those that hang must not heap up.
  if (byId("live").checked && document.visibilityState === "visible") await look();
}
