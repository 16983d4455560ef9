/** Lists of articles: headlines to click, with their facts, reasons and similar stories. */

import { FACTS, ask, listed } from "./asking.js";
import { element, reconcile, tell, unseen } from "./elements.js";
import { because, explained } from "./reasons.js";
import { ago } from "./words.js";

const SIMILAR = 5;

/**
 * @typedef {object} Reader what a list asks of the page
 * @property {(article: object) => void} read note that an article was clicked
 * @property {(id: string) => boolean} hasRead
 * @property {() => Map<string, string>} titles of what was read
 */

export class ArticleList {
  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} heading gets the focus where the list becomes empty
   * @param {Reader} reader
   */
  constructor(list, heading, reader) {
    this.list = list;
    this.heading = heading;
    this.reader = reader;
  }

  /**
   * Show articles; `remarks` has a line of text about some of them, by id.
   * @param {object[]} articles
   * @param {Map<string, string>} remarks
   */
  show(articles, remarks = new Map()) {
    const update = (node, one) => this.#update(node, one, remarks.get(one.id) ?? "");
    reconcile(this.list, articles, (one) => this.#made(one), update, this.heading);
  }

  #made(article) {
    const title = element("button", { type: "button", class: "title", dir: "auto" });
    const node = element(
      "li",
      {},
      element("h3", {}, title),
      element("p", { class: "meta" }),
      element("p", { class: "because" }),
      element("div", { class: "whys" }, this.#similar(article)),
    );
    title.addEventListener("click", () => this.reader.read(node.article));
    return node;
  }

  #update(node, article, remark) {
    node.article = article;
    const [heading, meta, reason, whys] = node.children;
    tell(heading.firstChild, named(article));
    tell(meta, facts(article, this.reader.hasRead(article.id)));
    if (remark) meta.append(" ", element("span", { class: "remark" }, remark));
    node.classList.toggle("is-read", this.reader.hasRead(article.id));
    const why = article.reasons ? this.#why(article, whys) : null;
    reason.replaceChildren(...(why ? because(article.reasons, this.reader.titles()) : []));
    tell(whys.querySelector(".similar .unseen"), ` to ${named(article)}`);
    const similar = whys.querySelector(".similar");
    // What has been taken down since must not stay here either.
    if (similar.open) similar.findAgain();
  }

  #why(article, whys) {
    let why = whys.querySelector(".why");
    if (!why) {
      const summary = element("summary", {}, "Why here", unseen(`: ${named(article)}`));
      why = element("details", { class: "why" }, summary, element("div"));
      whys.prepend(why);
    }
    const told = explained(article.reasons, article.score, this.reader.titles());
    why.lastChild.replaceChildren(...told);
    return why;
  }

  #similar(article) {
    const summary = element("summary", {}, "Similar stories", unseen(""));
    const told = element("div");
    const list = element("ul");
    const details = element("details", { class: "similar" }, summary, element("div", {}, told, list));
    details.findAgain = () => this.#findSimilar(article.id, summary, told, list);
    details.addEventListener("toggle", () => {
      if (details.open) details.findAgain();
    });
    return details;
  }

  async #findSimilar(id, heading, told, list) {
    const path = `/v1/news/${id}`;
    const wish = listed(`${path}/similar`, { n: SIMILAR, include: FACTS });
    try {
      const [stored, similar] = await Promise.all([ask(path), ask(wish)]);
      const text = `${stored.answer.abstract} ${stored.answer.url}`;
      // What has not changed keeps its place, and the focus.
      if (told.shown !== text) told.replaceChildren(...abstract(stored.answer));
      told.shown = text;
      this.#showSimilar(list, similar.answer.items, heading);
    } catch (error) {
      told.shown = null;
      const gone = error.code === "article_unknown";
      const text = gone ? "This article was taken down." : "The service does not answer.";
      told.replaceChildren(element("p", { class: "note" }, text));
    }
  }

  #showSimilar(list, articles, heading) {
    const make = () => {
      const title = element("button", { type: "button", class: "title", dir: "auto" });
      const node = element("li", {}, title, element("p", { class: "meta" }));
      title.addEventListener("click", () => this.reader.read(node.article));
      return node;
    };
    const update = (node, one) => {
      node.article = one;
      tell(node.firstChild, named(one));
      tell(node.lastChild, `${facts(one, false)} · cosine ${one.score.toFixed(2)}`);
    };
    reconcile(list, articles, make, update, heading);
  }
}

function abstract(stored) {
  const told = [];
  if (stored.abstract) told.push(element("p", { dir: "auto", class: "abstract" }, stored.abstract));
  // Only addresses of the web: any other could be a script.
  if (/^https?:/i.test(stored.url)) {
    const attributes = { href: stored.url, rel: "noopener noreferrer" };
    told.push(element("p", {}, element("a", attributes, "Where it was published")));
  }
  return told;
}

/** A headline to click needs letters: a blank title is none. */
function named(article) {
  return article.title?.trim() || article.id;
}

function facts(article, isRead) {
  const time = article.published_at ? ago(article.published_at) : "";
  const also = article.also?.length ? `told ${article.also.length + 1} times` : "";
  const told = [article.topic, article.source, time, also, isRead ? "read" : ""];
  return told.filter(Boolean).join(" · ");
}
