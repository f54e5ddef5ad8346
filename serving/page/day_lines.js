// Chart of the customers of each band by day; each line is labelled at its end.

import { frame, roundUp, separateLabels } from "./chart.js";
import { count, dayOf, s } from "./dom.js";

// `lines`: {band, points: [{day, value}]}, all of the same days.
export function dayLines(width, lines) {
  const height = width < 480 ? 280 : 330, left = 44, right = 104, top = 14, bottom = 34;
  const days = lines[0].points.map((point) => point.day);
  const max = roundUp(Math.max(4, ...lines.flatMap((line) => line.points.map((point) => point.value))));
  const x = (index) => left + (index / (days.length - 1)) * (width - left - right);
  const y = (value) => height - bottom - (value / max) * (height - top - bottom);
  const parts = [];
  for (const fraction of [0, 0.25, 0.5, 0.75, 1]) {
    const value = fraction * max;
    parts.push(s("line", { class: "gridline", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    if (Number.isInteger(value)) parts.push(s("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, count(value)));
  }
  for (const index of new Set([0, Math.floor((days.length - 1) / 2), days.length - 1])) {
    const anchor = index === 0 ? "start" : index === days.length - 1 ? "end" : "middle";
    parts.push(s("text", { x: x(index), y: height - 10, "text-anchor": anchor }, dayOf(days[index])));
  }
  const labels = lines.map((line) => {
    const last = line.points.at(-1);
    const path = line.points.map((point, index) => `${index ? "L" : "M"}${x(index).toFixed(1)} ${y(point.value).toFixed(1)}`).join("");
    parts.push(s("path", { class: "line band-line", "data-band": line.band, d: path }));
    parts.push(s("circle", { "data-band": line.band, cx: x(days.length - 1), cy: y(last.value), r: 4 },
      s("title", {}, `${line.band}: ${count(last.value)}`)));
    return { y: y(last.value) + 4, band: line.band, text: `${line.band} ${count(last.value)}` };
  });
  for (const label of separateLabels(labels, 16, height - bottom)) {
    parts.push(s("text", { "data-band": label.band, x: width - right + 10, y: label.y }, label.text));
  }
  const ranges = lines.map(({ band, points }) => `${band} from ${count(points[0].value)} to ${count(points.at(-1).value)}`).join(", ");
  return frame(width, height, `Customers by band over ${days.length} days: ${ranges}.`, ...parts);
}
