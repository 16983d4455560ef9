/** The reader's history: kept in this browser, oldest first, each article once. */

const KEY = "newsbert.history";
const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** The user encoder looks at no more. */
export const MOST = 50;

/** @typedef {{id: string, title: string}} Read */

export class History {
  /** @type {Read[]} */
  #articles = [];

  /** @param {Storage|null} storage null where the browser keeps nothing */
  constructor(storage) {
    this.storage = storage;
    this.load();
  }

  /** @returns {Read[]} oldest first */
  get articles() {
    return [...this.#articles];
  }

  /** @returns {string[]} */
  get ids() {
    return this.#articles.map((one) => one.id);
  }

  has(id) {
    return this.#articles.some((one) => one.id === id);
  }

  /** Note that articles were read just now, the last one last. */
  add(...articles) {
    const ids = new Set(articles.map((one) => one.id));
    const kept = this.#articles.filter((one) => !ids.has(one.id));
    const added = articles.map(({ id, title }) => ({ id, title: title ?? "" }));
    this.#replace([...kept, ...added].slice(-MOST));
  }

  remove(id) {
    this.#replace(this.#articles.filter((one) => one.id !== id));
  }

  /** Keep no titles of these; say whether there was any. */
  hide(ids) {
    const isShown = (one) => one.title && ids.includes(one.id);
    if (!this.#articles.some(isShown)) return false;
    this.#replace(this.#articles.map((one) => (isShown(one) ? { ...one, title: "" } : one)));
    return true;
  }

  clear() {
    this.#replace([]);
  }

  /** Read what is kept; whatever is no history is none. */
  load() {
    try {
      const kept = JSON.parse(this.storage?.getItem(KEY) ?? "[]");
      const read = (Array.isArray(kept) ? kept : []).filter(isRead);
      this.#articles = [...new Map(read.map((one) => [one.id, one])).values()].slice(-MOST);
    } catch {
      this.#articles = [];
    }
  }

  #replace(articles) {
    this.#articles = articles;
    try {
      this.storage?.setItem(KEY, JSON.stringify(articles));
    } catch {
      // Full, or not allowed: the history lasts as long as the page is open.
    }
  }
}

function isRead(one) {
  return typeof one?.id === "string" && ID.test(one.id) && typeof one.title === "string";
}

/** Return the browser's storage, or null where it may not be used. */
export function storageOf(browser) {
  try {
    return browser.localStorage;
  } catch {
    return null;
  }
}
