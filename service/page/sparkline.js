/** A line of how a figure went, drawn by DOM calls. */

import { drawn } from "./elements.js";

const WIDTH = 160;
const HEIGHT = 32;

/**
 * Draw values from left to right, from zero to the greatest; gaps where there was none.
 * @param {Array<number|null>} values
 * @param {number} room how many values fill the width
 * @returns {SVGElement} hidden from screen readers: the figure itself stands beside it
 */
export function sparkline(values, room) {
  const most = Math.max(0, ...values.map((one) => one ?? 0)) || 1;
  const step = WIDTH / Math.max(1, room - 1);
  const left = WIDTH - step * (values.length - 1);
  const across = (i) => (left + i * step).toFixed(1);
  const down = (value) => (HEIGHT - 2 - (HEIGHT - 4) * (value / most)).toFixed(1);
  let path = "";
  values.forEach((value, i) => {
    if (value === null) return;
    const isNext = i > 0 && values[i - 1] !== null;
    path += `${isNext ? "L" : "M"}${across(i)} ${down(value)}`;
  });
  return drawn(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      class: "sparkline",
      "aria-hidden": "true",
    },
    drawn("path", { d: path || "M0 0" }),
  );
}
