// Histogram of customers by churn probability, coloured and labelled by band.

import { frame, roundUp } from "./chart.js";
import { count, percent, s } from "./dom.js";

const bandAt = (bands, churn) => bands.filter((band) => churn >= band.from_churn - 1e-9).at(-1).band;

export function histogram(width, { edges, counts }, bands) {
  const height = width < 480 ? 280 : 330, left = 44, right = 6, top = 26, bottom = 34;
  const max = roundUp(Math.max(...counts, 4));
  const x = (churn) => left + churn * (width - left - right);
  const y = (value) => height - bottom - (value / max) * (height - top - bottom);
  const parts = [];
  for (const fraction of [0, 0.25, 0.5, 0.75, 1]) {
    const value = fraction * max;
    parts.push(s("line", { class: "gridline", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    if (Number.isInteger(value)) parts.push(s("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, count(value)));
  }
  counts.forEach((value, bin) => {
    const from = edges[bin], to = edges[bin + 1];
    // A bar of one customer would be too low to see: at least 2 pixels.
    const barHeight = value ? Math.max(2, y(0) - y(value)) : 0;
    const bar = { class: "bin", "data-band": bandAt(bands, from), x: x(from) + 1.5, y: y(0) - barHeight, rx: 2 };
    parts.push(
      s("rect", { ...bar, width: x(to) - x(from) - 3, height: barHeight },
        s("title", {}, `${percent(from)} to ${percent(to)}: ${count(value)} customers`)),
    );
  });
  for (const fraction of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
    parts.push(s("text", { x: x(fraction), y: height - bottom + 18, "text-anchor": fraction === 1 ? "end" : "middle" }, percent(fraction)));
  }
  bands.forEach((band, index) => {
    const upper = bands[index + 1]?.from_churn ?? 1;
    parts.push(
      s("text", { "data-band": band.band, x: x((band.from_churn + upper) / 2), y: 14, "text-anchor": "middle" }, band.band),
    );
    if (index) parts.push(s("line", { class: "ideal", x1: x(band.from_churn), x2: x(band.from_churn), y1: 4, y2: y(0) }));
  });
  const total = counts.reduce((sum, value) => sum + value, 0);
  const high = bands.slice(2).reduce((sum, band) => sum + band.customers, 0);
  return frame(width, height, `${count(total)} customers by chance of leaving; ${count(high)} are high or critical.`, ...parts);
}
