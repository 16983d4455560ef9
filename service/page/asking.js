/** Questions to the service, and how long each of them took. */

/** A service that hangs is told of like one that does not answer. */
export const PATIENCE_MS = 10_000;

/** An answer that is an error, by the service's own code. */
export class Refused extends Error {
  /** @param {number} status @param {string} code */
  constructor(status, code) {
    super(`${status} ${code}`);
    this.status = status;
    this.code = code;
  }
}

/**
 * Ask the service; with a body by POST.
 * @param {string} path
 * @param {{body?: object, signal?: AbortSignal}} options
 * @returns {Promise<{answer: object, stages: Array<{name: string, ms: number}>, wait: number}>}
 *   `wait` is the time in ms until the answer was here, network and browser included.
 * @throws {Refused} for an error of the service; TypeError where it cannot be reached
 */
export async function ask(path, { body, signal } = {}) {
  const began = performance.now();
  const late = AbortSignal.timeout(PATIENCE_MS);
  const options = { signal: signal ? AbortSignal.any([signal, late]) : late, cache: "no-store" };
  if (body) {
    options.method = "POST";
    options.headers = { "content-type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  const answer = await response.json().catch(() => ({ code: "unreadable" }));
  if (!response.ok) throw new Refused(response.status, answer.code);
  const stages = parsed(response.headers.get("server-timing") ?? "");
  return { answer, stages, wait: performance.now() - began };
}

/** Read a `Server-Timing` header. */
export function parsed(header) {
  return [...header.matchAll(/([\w-]+);dur=([\d.]+)/g)].map(([, name, duration]) => ({
    name,
    ms: Number(duration),
  }));
}

/** Write the query string of a list. */
export function listed(path, { n, topics = [], include = [] }) {
  const query = new URLSearchParams({ n });
  for (const topic of topics) query.append("topic", topic);
  for (const field of include) query.append("include", field);
  return `${path}?${query}`;
}

/** What the page shows of an article. */
export const FACTS = ["title", "topic", "source", "published_at"];
