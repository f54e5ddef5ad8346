// Chart of accuracy by label day; each line is labelled at its end.

import { frame, separateLabels } from "./chart.js";
import { count, dayOf, percent, s } from "./dom.js";

// `lines`: {name, main, base, estimate, points: [{day, value, raw}]}; values between 0 and 1.
export function accuracyChart(width, lines) {
  const height = 280, left = 44, right = width < 480 ? 104 : 140, top = 12, bottom = 30;
  const days = [...new Set(lines.flatMap((line) => line.points.map((point) => point.day)))].sort();
  const values = lines.flatMap((line) => line.points.map((point) => point.value));
  const low = Math.min(0.5, Math.floor(10 * Math.min(...values)) / 10);
  const high = Math.min(1, Math.ceil(10 * Math.max(...values, 0.6) + 0.2) / 10);
  const indexOf = new Map(days.map((day, index) => [day, index]));
  const x = (day) => left + (days.length < 2 ? 0.5 : indexOf.get(day) / (days.length - 1)) * (width - left - right);
  const y = (value) => height - bottom - ((value - low) / (high - low)) * (height - top - bottom);
  const parts = [];
  for (let tenth = Math.round(10 * low); tenth <= Math.round(10 * high); tenth += 1) {
    parts.push(s("line", { class: "gridline", x1: left, x2: width - right, y1: y(tenth / 10), y2: y(tenth / 10) }));
    parts.push(s("text", { x: left - 8, y: y(tenth / 10) + 4, "text-anchor": "end" }, percent(tenth / 10)));
  }
  if (y(0.5) <= height - bottom) parts.push(s("text", { x: left + 4, y: y(0.5) - 5 }, "coin toss"));
  const main = lines.find((line) => line.main), known = main?.points.at(-1).day;
  if (known && known < days.at(-1)) {
    parts.push(s("line", { class: "ideal", x1: x(known), x2: x(known), y1: top, y2: height - bottom }));
    parts.push(s("text", { x: x(known) - 6, y: height - bottom - 6, "text-anchor": "end" }, "known"));
    parts.push(s("text", { x: x(known) + 6, y: height - bottom - 6 }, "pending"));
  }
  const ticks = days.length < 2 ? days : [days[0], days[Math.floor(days.length / 2)], days.at(-1)];
  for (const day of new Set(ticks)) {
    const anchor = days.length > 1 && day === days[0] ? "start" : days.length > 1 && day === days.at(-1) ? "end" : "middle";
    parts.push(s("text", { x: x(day), y: height - 8, "text-anchor": anchor }, dayOf(day)));
  }
  const labels = [];
  for (const line of [...lines].sort((a, b) => Number(a.main ?? 0) - Number(b.main ?? 0))) {
    const style = line.main ? "main" : line.estimate ? "estimate" : line.base ? "base" : "";
    const path = line.points.map((point, index) => `${index ? "L" : "M"}${x(point.day)} ${y(point.value)}`).join("");
    parts.push(s("path", { class: `line ${style}`, d: path }));
    if (line.main) {
      for (const point of line.points) {
        parts.push(
          s("circle", { class: "dot raw", cx: x(point.day), cy: Math.max(top, Math.min(y(low), y(point.raw))), r: 3 },
            s("title", {}, `${dayOf(point.day)}: ${percent(point.raw)} on ${count(point.labels)} labels`)),
        );
      }
    }
    const last = line.points.at(-1);
    parts.push(s("circle", { class: line.main ? "dot" : "", fill: "var(--soft)", cx: x(last.day), cy: y(last.value), r: line.main ? 4.5 : 2.5 }));
    labels.push({ y: y(last.value) + 4, at: x(last.day), text: `${line.name} ${percent(last.value)}`, main: line.main || line.estimate });
  }
  for (const label of separateLabels(labels, 15, height - bottom)) {
    parts.push(s("text", { class: label.main ? "main" : "", x: width - right + 10, y: label.y }, label.text));
  }
  const latest = lines.map((line) => `${line.name} ${percent(line.points.at(-1).value)}`).join(", ");
  return frame(width, height, `Accuracy over ${days.length} label days: ${latest}.`, ...parts);
}
