/** What is recommended, how it came about, and what it would be with no history. */

import { ArticleList } from "./articles.js";
import { FACTS, ask } from "./asking.js";
import { byId, tell } from "./elements.js";
import { stageBar } from "./stages.js";
import { count, ms, tally } from "./words.js";

const SHOWN = 10;
const COMPARED = 50;
const HALF_LIVES_H = [null, 720, 168, 72, 24, 12, 6, 1];

const STRATEGIES = {
  personal: "by the click model, for your history",
  popular: "by what others click most, as no history is known",
  latest: "newest first",
  none: "none",
};
const MISSING = {
  history_unknown: "none of what you read is known to it",
  stale: "its store does not answer, so this is from memory",
  capped: "a cap kept more out",
  cursor: "there are no further pages for now",
};
const EMPTY = {
  catalogue: "There is no article yet.",
  filter: "No article passes the filter.",
  excluded: "You have read all that there is.",
};

export class Recommended {
  /** @param {object} reader what `ArticleList` asks for */
  constructor(reader) {
    const heading = byId("for-you-title");
    this.mine = new ArticleList(byId("recommended"), heading, reader);
    this.anyones = new ArticleList(byId("anyone"), heading, reader);
    this.ranks = null;
    this.moves = new Map();
  }

  /**
   * Ask for a history, show the answer, and return it.
   * @param {{history: string[], topics: string[], wishes: object, compare: boolean}} wanted
   * @param {AbortSignal} signal
   * @param {boolean} keepMoves whether nothing was done since the last time
   */
  async update({ history, topics, wishes, compare }, signal, keepMoves) {
    const body = { n: SHOWN, filter: { topics }, explain: true, include: FACTS, ...wishes };
    const plain = { ...body, history: [], n: COMPARED, explain: false };
    const [mine, anyones] = await Promise.all([
      ask("/v1/recommendations", { body: { ...body, history }, signal }),
      compare ? ask("/v1/recommendations", { body: plain, signal }) : null,
    ]);
    const { items } = mine.answer;
    if (!keepMoves || !this.ranks) this.#noteMoves(items);
    const remarks = anyones ? places(items, anyones.answer.items) : this.moves;
    this.mine.show(items, remarks);
    this.anyones.show(anyones?.answer.items.slice(0, SHOWN) ?? []);
    byId("without").hidden = byId("with-title").hidden = !compare;
    this.#tell(mine);
    return mine.answer;
  }

  #noteMoves(items) {
    const ranks = new Map(items.map((one) => [one.id, one.rank]));
    this.moves = this.ranks ? moved(ranks, this.ranks) : new Map();
    this.ranks = ranks;
  }

  #tell({ answer, stages, wait }) {
    tell(byId("summary"), summary(answer));
    const topics = answer.items.map((one) => one.topic).filter(Boolean);
    tell(byId("mix"), topics.length ? `Topics on this page: ${tally(topics)}` : "");
    const bar = stageBar(stages, wait);
    const old = byId("stages").firstChild;
    if (old?.open) bar.open = true;
    // What is focused stays: of an open bar only the inside changes.
    if (old) old.replaceChildren(keptSummary(old, bar), ...[...bar.children].slice(1));
    else byId("stages").append(bar);
    const empty = byId("recommended-empty");
    empty.hidden = answer.items.length > 0;
    tell(empty, EMPTY[answer.empty] ?? "There is nothing to recommend.");
    const { model, namespace, generation } = answer;
    tell(byId("provenance"), `Model ${model}, namespace ${namespace}, generation ${generation}.`);
  }
}

/** Say in a sentence how an answer came about. */
export function summary(answer) {
  const chosen = STRATEGIES[answer.strategy] ?? answer.strategy;
  const told = `${count(answer.items.length, "article")}, ${chosen} (${answer.strategy}).`;
  const missing = answer.degraded.map((one) => `${MISSING[one] ?? one} (${one})`);
  return missing.length ? `${told} Degraded: ${missing.join("; ")}.` : told;
}

function keptSummary(old, bar) {
  const kept = old.querySelector("summary");
  tell(kept, bar.querySelector("summary").textContent);
  return kept;
}

function moved(ranks, before) {
  const remark = ([id, rank]) => {
    if (!before.has(id)) return [id, "new here"];
    const up = before.get(id) - rank;
    return [id, up > 0 ? `▲ up ${up}` : up < 0 ? `▼ down ${-up}` : ""];
  };
  return new Map([...ranks].map(remark));
}

function places(items, anyones) {
  const others = new Map(anyones.map((one) => [one.id, one.rank]));
  const remark = ({ id }) =>
    others.has(id) ? `with no history: place ${others.get(id)}` : `with no history: beyond ${COMPARED}`;
  return new Map(items.map((one) => [one.id, remark(one)]));
}

/** The sliders' wishes as a request has them; an untouched one asks for nothing. */
export class Wishes {
  /** @param {() => void} changed */
  constructor(changed) {
    this.halfLife = byId("half-life");
    this.diversity = byId("diversity");
    this.isOwnDiversity = true;
    this.halfLife.addEventListener("input", () => this.#changed(changed));
    this.diversity.addEventListener("input", () => {
      this.isOwnDiversity = false;
      this.#changed(changed);
    });
    byId("reset").addEventListener("click", () => {
      this.halfLife.value = 0;
      this.diversity.value = this.diversity.defaultValue;
      this.isOwnDiversity = true;
      this.#changed(changed);
    });
    // A browser may bring back the places of another visit.
    this.halfLife.value = 0;
    this.diversity.value = this.diversity.defaultValue;
  }

  get body() {
    return {
      freshness_half_life_h: HALF_LIVES_H[Number(this.halfLife.value)],
      diversity: this.isOwnDiversity ? null : Number(this.diversity.value),
    };
  }

  #changed(changed) {
    const { freshness_half_life_h: hours, diversity } = this.body;
    told(this.halfLife, hours === null ? "off" : spanned(hours));
    told(this.diversity, diversity === null ? "the service’s own" : diversity.toFixed(2));
    changed();
  }
}

function spanned(hours) {
  return hours < 48 ? count(hours, "hour") : count(hours / 24, "day");
}

function told(slider, text) {
  slider.setAttribute("aria-valuetext", text);
  tell(byId(`${slider.id}-told`), text);
}

/** Say what an update came to, for screen readers. */
export function spoken(answer, wait) {
  const first = answer.items[0]?.title ?? "none";
  return `${summary(answer)} First: ${first}. In ${ms(wait)}.`;
}
