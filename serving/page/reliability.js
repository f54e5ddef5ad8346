// Calibration chart: predicted chance of leaving against the observed share that left.

import { frame } from "./chart.js";
import { count, percent, s } from "./dom.js";

export function reliability(width, bins) {
  const height = 280, left = 44, right = 12, top = 12, bottom = 42;
  const x = (value) => left + value * (width - left - right);
  const y = (value) => height - bottom - value * (height - top - bottom);
  const maxLabels = Math.max(...bins.map((bin) => bin.labels));
  const parts = [];
  for (const fraction of [0, 0.25, 0.5, 0.75, 1]) {
    parts.push(s("line", { class: "gridline", x1: left, x2: width - right, y1: y(fraction), y2: y(fraction) }));
    parts.push(s("text", { x: left - 8, y: y(fraction) + 4, "text-anchor": "end" }, percent(fraction)));
    parts.push(s("text", { x: x(fraction), y: height - bottom + 16, "text-anchor": fraction === 1 ? "end" : "middle" }, percent(fraction)));
  }
  parts.push(s("line", { class: "ideal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }));
  parts.push(s("text", { x: x(0.5), y: height - 6, "text-anchor": "middle" }, "chance that Ebb gave → share that left ↑"));
  for (const bin of bins) {
    const radius = 3 + 7 * Math.sqrt(bin.labels / maxLabels);
    parts.push(
      s("circle", { class: "dot", cx: x(bin.predicted), cy: y(bin.observed), r: radius },
        s("title", {}, `Given ${percent(bin.predicted)}, ${percent(bin.observed)} left (${count(bin.labels)} labels)`)),
    );
  }
  return frame(width, height, "Chances given against shares that left, in ten groups.", ...parts);
}
