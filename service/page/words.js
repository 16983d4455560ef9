/** Numbers and times in words. */

const UNITS = [
  [86_400, "day"],
  [3_600, "hour"],
  [60, "minute"],
];
const relative = new Intl.RelativeTimeFormat("en", { style: "long", numeric: "always" });

/** Say how long ago a time was: "3 hours ago". */
export function ago(time, now = Date.now()) {
  const seconds = (now - new Date(time).getTime()) / 1_000;
  for (const [size, unit] of UNITS) {
    if (Math.abs(seconds) >= size) return relative.format(-Math.trunc(seconds / size), unit);
  }
  return "just now";
}

/** Write a number with as many digits as say something. */
export function short(value) {
  const size = Math.abs(value);
  if (size >= 1_000) return Math.round(value).toLocaleString("en");
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

/** Write milliseconds. */
export function ms(value) {
  return `${short(value)} ms`;
}

/** Write a number with its sign, as parts of a sum have them. */
export function signed(value) {
  return `${value < 0 ? "−" : "+"}${short(Math.abs(value))}`;
}

/** Write "1 article", "2 articles". */
export function count(number, thing) {
  return `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;
}

/** Count things by name: "sports 3, food 1", the most frequent first. */
export function tally(names) {
  const counts = new Map();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  const ordered = [...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
  return ordered.map(([name, number]) => `${name} ${number}`).join(", ");
}
