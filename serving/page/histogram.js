// Customers by chance, coloured and named by band.

import { frame, roundUp } from "./chart.js";
import { count, percent, s } from "./dom.js";

const bandAt = (bands, churn) => bands.filter((band) => churn >= band.from_churn - 1e-9).at(-1).band;

export function histogram(width, { edges, counts }, bands) {
  const height = width < 480 ? 280 : 330, left = 44, right = 6, top = 26, bottom = 34;
  const most = roundUp(Math.max(...counts, 4));
  const x = (churn) => left + churn * (width - left - right);
  const y = (value) => height - bottom - (value / most) * (height - top - bottom);
  const parts = [];
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    const value = part * most;
    parts.push(s("line", { class: "gridline", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    if (Number.isInteger(value)) parts.push(s("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, count(value)));
  }
  counts.forEach((value, bin) => {
    const from = edges[bin], to = edges[bin + 1];
    // A customer is seldom seen in a bar of one: at least 2 pixels show that somebody is there.
    const tall = value ? Math.max(2, y(0) - y(value)) : 0;
    const bar = { class: "bin", "data-band": bandAt(bands, from), x: x(from) + 1.5, y: y(0) - tall, rx: 2 };
    parts.push(
      s("rect", { ...bar, width: x(to) - x(from) - 3, height: tall },
        s("title", {}, `${percent(from)} to ${percent(to)}: ${count(value)} customers`)),
    );
  });
  for (const part of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
    parts.push(s("text", { x: x(part), y: height - bottom + 18, "text-anchor": part === 1 ? "end" : "middle" }, percent(part)));
  }
  bands.forEach((band, place) => {
    const until = bands[place + 1]?.from_churn ?? 1;
    parts.push(
      s("text", { "data-band": band.band, x: x((band.from_churn + until) / 2), y: 14, "text-anchor": "middle" }, band.band),
    );
    if (place) parts.push(s("line", { class: "ideal", x1: x(band.from_churn), x2: x(band.from_churn), y1: 4, y2: y(0) }));
  });
  const total = counts.reduce((sum, value) => sum + value, 0);
  const high = bands.slice(2).reduce((sum, band) => sum + band.customers, 0);
  return frame(width, height, `${count(total)} customers by chance of leaving; ${count(high)} are high or critical.`, ...parts);
}
