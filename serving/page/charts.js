// Charts as SVG: labelled where the eye is, so that no legend has to be searched.

import { count, dayOf, percent, s } from "./dom.js";

const bandAt = (bands, churn) => bands.filter((band) => churn >= band.from_churn - 1e-9).at(-1).band;

function frame(width, height, title, ...children) {
  return s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title }, ...children);
}

// A round number at or above `value`, for the top of an axis.
function roundUp(value) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 4, 5, 10].map((step) => step * unit).find((step) => step >= value);
}

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

// Pushes labels apart so that none covers another; keeps their order.
function spread(labels, gap, lowest) {
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

// `lines`: {name, main, base, points: [{day, value, raw}]}; values between 0 and 1.
export function lines(width, given) {
  const height = 280, left = 44, right = width < 480 ? 104 : 140, top = 12, bottom = 30;
  const days = [...new Set(given.flatMap((line) => line.points.map((point) => point.day)))].sort();
  const values = given.flatMap((line) => line.points.map((point) => point.value));
  const low = Math.min(0.5, Math.floor(10 * Math.min(...values)) / 10);
  const top1 = Math.min(1, Math.ceil(10 * Math.max(...values, 0.6) + 0.2) / 10);
  const place = new Map(days.map((day, index) => [day, index]));
  const x = (day) => left + (days.length < 2 ? 0.5 : place.get(day) / (days.length - 1)) * (width - left - right);
  const y = (value) => height - bottom - ((value - low) / (top1 - low)) * (height - top - bottom);
  const parts = [];
  for (let tenth = Math.round(10 * low); tenth <= Math.round(10 * top1); tenth += 1) {
    parts.push(s("line", { class: "gridline", x1: left, x2: width - right, y1: y(tenth / 10), y2: y(tenth / 10) }));
    parts.push(s("text", { x: left - 8, y: y(tenth / 10) + 4, "text-anchor": "end" }, percent(tenth / 10)));
  }
  parts.push(s("text", { x: left + 4, y: y(0.5) - 5 }, "coin toss"));
  const marks = days.length < 2 ? days : [days[0], days[Math.floor(days.length / 2)], days.at(-1)];
  for (const day of new Set(marks)) {
    const anchor = days.length > 1 && day === days[0] ? "start" : days.length > 1 && day === days.at(-1) ? "end" : "middle";
    parts.push(s("text", { x: x(day), y: height - 8, "text-anchor": anchor }, dayOf(day)));
  }
  const labels = [];
  for (const line of [...given].sort((one, other) => Number(one.main ?? 0) - Number(other.main ?? 0))) {
    const style = line.main ? "main" : line.base ? "base" : "";
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
    labels.push({ y: y(last.value) + 4, at: x(last.day), text: `${line.name} ${percent(last.value)}`, main: line.main });
  }
  for (const label of spread(labels, 15, height - bottom)) {
    parts.push(s("text", { class: label.main ? "main" : "", x: width - right + 10, y: label.y }, label.text));
  }
  const said = given.map((line) => `${line.name} ${percent(line.points.at(-1).value)}`).join(", ");
  return frame(width, height, `Accuracy over ${days.length} label days: ${said}.`, ...parts);
}

export function reliability(width, bins) {
  const height = 280, left = 44, right = 12, top = 12, bottom = 42;
  const x = (value) => left + value * (width - left - right);
  const y = (value) => height - bottom - value * (height - top - bottom);
  const most = Math.max(...bins.map((bin) => bin.labels));
  const parts = [];
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    parts.push(s("line", { class: "gridline", x1: left, x2: width - right, y1: y(part), y2: y(part) }));
    parts.push(s("text", { x: left - 8, y: y(part) + 4, "text-anchor": "end" }, percent(part)));
    parts.push(s("text", { x: x(part), y: height - bottom + 16, "text-anchor": part === 1 ? "end" : "middle" }, percent(part)));
  }
  parts.push(s("line", { class: "ideal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }));
  parts.push(s("text", { x: x(0.5), y: height - 6, "text-anchor": "middle" }, "chance that Ebb gave → share that left ↑"));
  for (const bin of bins) {
    const radius = 3 + 7 * Math.sqrt(bin.labels / most);
    parts.push(
      s("circle", { class: "dot", cx: x(bin.predicted), cy: y(bin.observed), r: radius },
        s("title", {}, `Given ${percent(bin.predicted)}, ${percent(bin.observed)} left (${count(bin.labels)} labels)`)),
    );
  }
  return frame(width, height, "Chances given against shares that left, in ten groups.", ...parts);
}

// `past`: {at: Date, churn, band}, oldest first.
export function sparkline(width, past, bands) {
  const height = 120, left = 40, right = 10, top = 10, bottom = 24;
  const first = past[0].at.getTime(), span = Math.max(1, past.at(-1).at.getTime() - first);
  const x = (at) => left + ((at.getTime() - first) / span) * (width - left - right);
  const y = (value) => height - bottom - value * (height - top - bottom);
  const parts = [0, 0.5, 1].flatMap((part) => [
    s("line", { class: "gridline", x1: left, x2: width - right, y1: y(part), y2: y(part) }),
    s("text", { x: left - 8, y: y(part) + 4, "text-anchor": "end" }, percent(part)),
  ]);
  for (const band of bands.slice(1)) {
    parts.push(s("line", { class: "ideal", x1: left, x2: width - right, y1: y(band.from_churn), y2: y(band.from_churn) }, s("title", {}, `${band.band} from ${percent(band.from_churn)}`)));
  }
  const path = past.map((one, index) => `${index ? "L" : "M"}${x(one.at).toFixed(1)} ${y(one.churn).toFixed(1)}`).join("");
  const last = past.at(-1);
  parts.push(s("path", { class: "line main", d: path }));
  parts.push(s("circle", { "data-band": last.band, cx: x(last.at), cy: y(last.churn), r: 5 }));
  parts.push(s("text", { x: left, y: height - 6 }, dayOf(past[0].at)));
  parts.push(s("text", { x: width - right, y: height - 6, "text-anchor": "end" }, dayOf(last.at)));
  return frame(width, height, `Risk from ${percent(past[0].churn)} on ${dayOf(past[0].at)} to ${percent(last.churn)} on ${dayOf(last.at)}.`, ...parts);
}

export function lagBars(width, partitions) {
  const step = Math.min(64, width / partitions.length), height = 74, base = 52;
  const most = Math.max(20, ...partitions.map((one) => one.lag_events));
  const parts = [s("line", { class: "axis", x1: 0, x2: step * partitions.length, y1: base, y2: base })];
  partitions.forEach((one, place) => {
    const tall = one.lag_events ? Math.max(2, (one.lag_events / most) * 40) : 0;
    parts.push(
      s("rect", { "data-band": one.lag_seconds > 30 ? "critical" : "low", x: place * step + 2, y: base - tall, width: Math.max(1, step - 4), height: tall, rx: 2 },
        s("title", {}, `Partition ${one.partition}: ${count(one.lag_events)} events behind, ${one.lag_seconds} s`)),
    );
    if (step > 18) parts.push(s("text", { x: place * step + 2, y: base + 15 }, String(one.partition)));
  });
  return frame(width, height, `Events not yet committed by partition, at most ${count(Math.max(...partitions.map((one) => one.lag_events)))}.`, ...parts);
}
