/** The stages of a request as a bar and in words, as `Server-Timing` tells them. */

import { drawn, element } from "./elements.js";
import { ms } from "./words.js";

const WIDTH = 300;
const HEIGHT = 8;

/**
 * Draw where the time of a request went.
 * @param {Array<{name: string, ms: number}>} stages with the `total` last
 * @param {number} wait in ms, as the browser measured it
 * @returns {HTMLElement}
 */
export function stageBar(stages, wait) {
  const total = stages.find((one) => one.name === "total")?.ms ?? 0;
  const parts = stages.filter((one) => one.name !== "total");
  const bar = drawn("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    class: "stage-bar",
    "aria-hidden": "true",
  });
  let x = 0;
  parts.forEach((one, i) => {
    const width = (WIDTH * one.ms) / (total || 1);
    bar.append(drawn("rect", { x, y: 0, width, height: HEIGHT, class: `stage-${i % 7}` }));
    x += width;
  });
  const told = parts.map((one, i) =>
    element("li", {}, element("span", { class: `dot stage-${i % 7}` }), `${one.name} ${ms(one.ms)}`),
  );
  const sum = `${ms(total)} in the service, ${ms(wait)} until it was here`;
  return element(
    "details",
    { class: "stages" },
    element("summary", {}, "Stages: ", sum),
    bar,
    element("ul", {}, ...told),
  );
}
