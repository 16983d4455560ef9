/** Elements made by DOM calls alone: what an article says is only ever text. */

const SVG = "http://www.w3.org/2000/svg";
const FOCUSABLE = "button, summary, a[href], input";

/**
 * Make an element; of its attributes those that are null or false are left out.
 * @param {string} name
 * @param {Record<string, string|number|boolean|null>} attributes
 * @param {...(Node|string)} children strings become text
 * @returns {HTMLElement}
 */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Make an element of a drawing, as `element` does. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** Return the element of the page with an id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Text for screen readers alone. */
export function unseen(text) {
  return element("span", { class: "unseen" }, text);
}

/** Change a text only where it differs, so that nothing is announced twice. */
export function tell(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Make a list show some things; what stays keeps its element, its focus and what is open in it.
 *
 * Where the focused one is gone, the one in its place gets the focus, else the list's heading.
 * @param {HTMLElement} list
 * @param {Array<{id: string}>} things
 * @param {(thing: object) => HTMLElement} make
 * @param {(node: HTMLElement, thing: object) => void} update
 * @param {HTMLElement} heading
 */
export function reconcile(list, things, make, update, heading) {
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const place = focused ? [...list.children].findIndex((one) => one.contains(focused)) : -1;
  const known = new Map([...list.children].map((one) => [one.dataset.id, one]));
  const wanted = things.map((thing) => {
    const node = known.get(thing.id) ?? make(thing);
    node.dataset.id = thing.id;
    update(node, thing);
    return node;
  });
  const isSame =
    wanted.length === list.children.length && wanted.every((one, i) => one === list.children[i]);
  if (isSame) return;
  list.replaceChildren(...wanted);
  if (focused) refocus(list, focused, place, heading);
}

function refocus(list, focused, place, heading) {
  const next = list.children[Math.min(place, list.children.length - 1)];
  const target = focused.isConnected ? focused : (next?.querySelector(FOCUSABLE) ?? heading);
  target.focus({ preventScroll: true });
}
