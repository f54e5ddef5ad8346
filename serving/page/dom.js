// Helpers to build elements and to format numbers. Text is only ever set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (tag, attributes = {}, ...children) => build(document.createElement(tag), attributes, children);
export const s = (tag, attributes = {}, ...children) => build(document.createElementNS(SVG, tag), attributes, children);
export const find = (id) => document.getElementById(id);

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

export const count = (value) => whole.format(value);
export const money = (value) => (Math.abs(value) < 10000 ? whole.format(value) : short.format(value));
export const percent = (value, digits = 0) => `${(100 * value).toFixed(digits)} %`;
// Below 1 % and above 99 % a rounded figure would claim a certainty that no score has.
export const chance = (value) => (value < 0.01 ? "< 1 %" : value > 0.99 ? "> 99 %" : percent(value));
export const points = (value) => `${value >= 0 ? "+" : "−"}${Math.round(Math.abs(100 * value))} points`;
// A change with its sign, formatted by `format`.
export const signed = (value, format) => (Math.round(value) === 0 ? "no change" : `${value > 0 ? "▲ +" : "▼ −"}${format(Math.abs(value))}`);
// Drops the phrase that every reason repeats; the panels show it once.
export const shortReason = (text) => text.replace(/: associated with an? (?:higher|lower) risk of leaving/g, "");

export function duration(seconds) {
  if (seconds < 1) return "under 1 s";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export function moment(date) {
  return date.toLocaleString("en-GB", {
    weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZone: "UTC",
  });
}

export const clockTime = (date) =>
  date.toLocaleString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", ...(Math.abs(Date.now() - date) > 43200000 && { day: "numeric", month: "short" }) });

export const dayOf = (text) =>
  new Date(text).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

const drawn = new Map();

// Redraws an element only if its data has changed, so that focus and pointer are not disturbed.
export function update(id, data, render) {
  const snapshot = JSON.stringify(data);
  if (drawn.get(id) === snapshot) return;
  drawn.set(id, snapshot);
  find(id).replaceChildren(...[render(data)].flat());
}

export const empty = (text) => h("p", { class: "empty" }, text);

export function fact(name, value, note, bad = false) {
  return h("div", { "data-bad": bad }, h("dt", {}, name), h("dd", {}, value, note && h("small", {}, note)));
}
