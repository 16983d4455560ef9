/** The front page: the same for everybody, newest or most clicked first. */

import { ArticleList } from "./articles.js";
import { FACTS, ask, listed } from "./asking.js";
import { byId, tell } from "./elements.js";

const STEP = 8;
const MOST = 200;

export class FrontPage {
  /** @param {object} reader what `ArticleList` asks for @param {() => void} changed */
  constructor(reader, changed) {
    this.articles = new ArticleList(byId("front"), byId("front-title"), reader);
    this.n = STEP;
    this.more = byId("more");
    this.more.addEventListener("click", () => {
      this.n = Math.min(this.n + STEP, MOST);
      changed();
    });
    for (const one of document.getElementsByName("order")) one.addEventListener("change", changed);
  }

  get order() {
    return document.querySelector("input[name=order]:checked").value;
  }

  /** Ask again, and show the answer. */
  async update(topics, signal) {
    const path = listed(`/v1/${this.order}`, { n: this.n, topics, include: FACTS });
    const { answer } = await ask(path, { signal });
    this.articles.show(answer.items);
    this.more.hidden = answer.next_cursor === null || this.n >= MOST;
    const empty = byId("front-empty");
    empty.hidden = answer.items.length > 0;
    tell(empty, answer.empty === "filter" ? "No article of these topics." : "There is no article yet.");
    return answer;
  }
}
