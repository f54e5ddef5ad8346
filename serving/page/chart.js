// Shared by the charts: SVG whose lines carry their own labels, so that no legend is needed.

import { s } from "./dom.js";

export function frame(width, height, title, ...children) {
  return s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title }, ...children);
}

// A round number at or above `value`, for the top of an axis.
export function roundUp(value) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((step) => step * unit).find((step) => step >= value);
}

// Moves labels apart so that none covers another; keeps their order.
export function separateLabels(labels, gap, lowest) {
  labels.sort((a, b) => a.y - b.y);
  labels.forEach((label, index) => {
    if (index) label.y = Math.max(label.y, labels[index - 1].y + gap);
  });
  let limit = lowest;
  for (const label of labels.toReversed()) {
    label.y = Math.min(label.y, limit);
    limit = label.y - gap;
  }
  return labels;
}
