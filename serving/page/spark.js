// Sparkline: a small chart of the last days, without axes.

import { s } from "./dom.js";

export function spark(values) {
  const width = 84, height = 30, inset = 3;
  if (values.length < 2) return s("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const low = Math.min(...values), span = Math.max(...values) - low || 1;
  const x = (index) => inset + (index / (values.length - 1)) * (width - 2 * inset);
  const y = (value) => height - inset - ((value - low) / span) * (height - 2 * inset);
  const path = values.map((value, index) => `${index ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  return s("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    s("path", { d: path }), s("circle", { cx: x(values.length - 1), cy: y(values.at(-1)), r: 2.5 }));
}
