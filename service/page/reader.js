/** The reader's page: joins its parts, and asks again after whatever the reader does. */

import { FACTS, Refused, ask, listed } from "./asking.js";
import { byId, element, reconcile, tell, unseen } from "./elements.js";
import { FrontPage } from "./frontpage.js";
import { History, storageOf } from "./history.js";
import { Recommended, Wishes, spoken } from "./recommended.js";
import { Searching } from "./searching.js";
import { Topics } from "./topics.js";
import { count } from "./words.js";

const PAUSE_MS = 5_000;
const SETTLED_MS = 60;
const STARTED_WITH = 3;

const history = new History(storageOf(window));
const reader = {
  read: (article) => noteRead([article]),
  hasRead: (id) => history.has(id),
  titles: () => new Map(history.articles.map((one) => [one.id, titled(one)])),
};
const front = new FrontPage(reader, () => update("Front page changed."));
const recommended = new Recommended(reader);
const searching = new Searching(reader, () => update("Search done."));
const wishes = new Wishes(() => updateSoon("Wishes changed."));
const topics = new Topics(byId("topics"), byId("starters"), {
  changed: () => update("Topics changed."),
  start: (topic) => start(topic),
});
let current = new AbortController();
let soon = 0;
const main = document.querySelector("main");

/** Ask for all that is shown; what was asked before and has not come yet is forgotten. */
async function update(said) {
  current.abort();
  current = new AbortController();
  clearTimeout(soon);
  const { signal } = current;
  setBusy(true);
  try {
    if (!said) await hideTakenDown(signal);
    const wanted = {
      history: history.ids,
      topics: topics.wanted,
      wishes: wishes.body,
      compare: byId("compare").checked,
    };
    const began = performance.now();
    const [mine, , found] = await Promise.all([
      recommended.update(wanted, signal, !said),
      front.update(wanted.topics, signal),
      searching.update(wanted.topics, signal),
    ]);
    showHistory();
    tell(byId("trouble"), "");
    if (said) {
      const ways = found ? `Found by both ${found[0]}, by meaning ${found[1]}, by words ${found[2]}. ` : "";
      tell(byId("said"), `${said} ${ways}${spoken(mine, performance.now() - began)}`);
    }
  } catch (error) {
    if (!signal.aborted) tell(byId("trouble"), trouble(error));
  } finally {
    if (!signal.aborted) setBusy(false);
  }
}

/** Tell screen readers too that what they read out is about to change. */
function setBusy(isBusy) {
  main.setAttribute("aria-busy", isBusy);
}

function updateSoon(said) {
  setBusy(true);
  clearTimeout(soon);
  soon = setTimeout(update, SETTLED_MS, said);
}

function trouble(error) {
  const why = error instanceof Refused ? error.code : "it cannot be reached";
  return `The service does not answer as it should (${why}). What you see may be old.`;
}

function noteRead(articles) {
  history.add(...articles);
  showHistory();
  return update(`Read: ${articles.map((one) => one.title).join("; ")}.`);
}

async function start(topic) {
  setBusy(true);
  const path = listed("/v1/latest", { n: STARTED_WITH, topics: [topic], include: FACTS });
  try {
    const { answer } = await ask(path);
    // The newest counts as read last.
    await noteRead(answer.items.reverse());
  } catch (error) {
    setBusy(false);
    tell(byId("trouble"), trouble(error));
  }
}

/** Show no titles of what may not be shown any more; who is only expired still counts. */
async function hideTakenDown(signal) {
  if (!history.ids.length) return;
  const { answer } = await ask("/v1/rank", { body: { candidates: history.ids }, signal });
  if (!history.hide(answer.missing)) return;
  tell(byId("said"), "");
  showHistory();
}

function showHistory() {
  const articles = history.articles.reverse();
  const heading = byId("history-title");
  const show = (node, one) => {
    tell(node.firstChild, titled(one));
    tell(node.querySelector(".unseen"), `: ${titled(one)}`);
  };
  reconcile(byId("history"), articles, remembered, show, heading);
  byId("history-none").hidden = articles.length > 0;
  byId("forget").hidden = articles.length === 0;
  tell(byId("strip"), `${count(articles.length, "article")} read.`);
}

const titled = (article) => article.title.trim() || "An article that is no longer shown";

function remembered(article) {
  const forget = element("button", { type: "button" }, "Forget", unseen(""));
  forget.addEventListener("click", () => {
    history.remove(article.id);
    showHistory();
    update(`Forgotten: ${titled(article)}.`);
  });
  return element("li", {}, element("span", { dir: "auto" }), " ", forget);
}

function keepUp() {
  const isWanted = byId("live").checked && document.visibilityState === "visible";
  return isWanted && main.ariaBusy !== "true" ? update() : null;
}

/** Offer topics that were not there before, or could not be asked for. */
async function offerTopics() {
  if (topics.isEmpty) await topics.load().catch(() => {});
}

async function keepUpForever() {
  for (;;) {
    await new Promise((done) => setTimeout(done, PAUSE_MS));
    await keepUp();
    if (byId("live").checked) await offerTopics();
  }
}

byId("forget").addEventListener("click", () => {
  history.clear();
  showHistory();
  byId("history-title").focus();
  update("All forgotten.");
});
byId("compare").addEventListener("change", () => update("Comparison changed."));
document.addEventListener("visibilitychange", keepUp);
window.addEventListener("storage", () => {
  history.load();
  showHistory();
  update();
});

showHistory();
const offered = topics.load().catch((error) => tell(byId("trouble"), trouble(error)));
await Promise.all([update(), offered]);
document.documentElement.dataset.ready = Math.round(performance.now());
keepUpForever();
