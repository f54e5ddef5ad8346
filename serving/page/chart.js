// What the charts share: SVG, labelled where the eye is, so that no legend has to be searched.

import { s } from "./dom.js";

export function frame(width, height, title, ...children) {
  return s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title }, ...children);
}

// A round number at or above `value`, for the top of an axis.
export function roundUp(value) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((step) => step * unit).find((step) => step >= value);
}

// Pushes labels apart so that none covers another; keeps their order.
export function apart(labels, gap, lowest) {
  labels.sort((one, other) => one.y - other.y);
  labels.forEach((label, place) => {
    if (place) label.y = Math.max(label.y, labels[place - 1].y + gap);
  });
  let limit = lowest;
  for (const label of labels.toReversed()) {
    label.y = Math.min(label.y, limit);
    limit = label.y - gap;
  }
  return labels;
}
