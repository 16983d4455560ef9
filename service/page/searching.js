/** Search: one query by vector, by words and by both, side by side. */

import { ArticleList } from "./articles.js";
import { FACTS, Refused, ask } from "./asking.js";
import { byId, tell } from "./elements.js";
import { count, ms } from "./words.js";

const MODES = ["hybrid", "dense", "bm25"];
const FOUND = 5;

export class Searching {
  /** @param {object} reader what `ArticleList` asks for @param {() => void} asked */
  constructor(reader, asked) {
    this.query = "";
    this.lists = new Map(
      MODES.map((mode) => [mode, new ArticleList(byId(mode), byId(`${mode}-title`), reader)]),
    );
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.query = byId("query").value.trim();
      asked();
    });
  }

  /** Ask all three ways, show the answers, and return how many articles each has found. */
  async update(topics, signal) {
    byId("ways").hidden = !this.query;
    if (!this.query) return null;
    return Promise.all(MODES.map((mode) => this.#find(mode, topics, signal)));
  }

  async #find(mode, topics, signal) {
    const told = byId(`${mode}-told`);
    const body = {
      query: this.query, mode, n: FOUND, filter: { topics }, include: FACTS,
      explain: mode === "hybrid",
    };
    try {
      const { answer, wait } = await ask("/v1/search", { body, signal });
      const items = answer.items.map((one) => ({ ...one, reasons: undefined }));
      this.lists.get(mode).show(items, new Map(answer.items.map((one) => [one.id, ranks(one)])));
      const lost = answer.degraded.length ? `, degraded: ${answer.degraded.join(", ")}` : "";
      const found = items.length ? count(items.length, "article") : "Nothing";
      tell(told, `${found} in ${ms(wait)}${lost}`);
      return items.length;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.lists.get(mode).show([]);
      tell(told, `Refused: ${error.code}`);
      return 0;
    }
  }
}

function ranks({ reasons }) {
  if (!reasons) return "";
  const { dense, bm25 } = reasons;
  const place = (way, found) => (found ? `${way} ${found.rank}` : `${way} –`);
  return `${place("meaning", dense)}, ${place("words", bm25)}`;
}
