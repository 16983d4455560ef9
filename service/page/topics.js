/** Topics to filter by: those of the newest articles. */

import { ask, listed } from "./asking.js";
import { element } from "./elements.js";

const LOOKED_AT = 200;
const STARTERS = 3;
/** A filter takes no more; the most frequent are offered. */
const MOST = 64;

export class Topics {
  /**
   * @param {HTMLElement} box
   * @param {HTMLElement} starters where a reader without history may begin
   * @param {{changed: () => void, start: (topic: string) => void}} page
   */
  constructor(box, starters, page) {
    this.box = box;
    this.starters = starters;
    this.page = page;
    box.addEventListener("change", page.changed);
  }

  /** @returns {string[]} the topics that are wanted; none is all */
  get wanted() {
    return [...this.box.querySelectorAll("input:checked")].map((one) => one.value);
  }

  /** @returns {boolean} whether there is none to choose yet */
  get isEmpty() {
    return this.box.children.length === 0;
  }

  /** Ask which topics there are, and offer them. */
  async load() {
    const path = listed("/v1/latest", { n: LOOKED_AT, include: ["topic"] });
    const { answer } = await ask(path);
    const names = frequent(answer.items.map((one) => one.topic).filter(Boolean)).sort();
    this.box.replaceChildren(...names.map(chip));
    this.box.closest("fieldset").hidden = names.length === 0;
    const first = names.includes("sports") ? ["sports"] : [];
    const offered = [...new Set([...first, ...names])].slice(0, STARTERS);
    this.starters.replaceChildren(...offered.map((one) => this.#starter(one)));
    this.starters.parentElement.hidden = offered.length === 0;
  }

  #starter(topic) {
    const button = element("button", { type: "button", dir: "auto" }, topic);
    button.addEventListener("click", () => this.page.start(topic));
    return button;
  }
}

function frequent(names) {
  const counts = new Map();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a)).slice(0, MOST);
}

function chip(topic) {
  const box = element("input", { type: "checkbox", value: topic });
  return element("label", {}, box, element("bdi", {}, topic));
}
