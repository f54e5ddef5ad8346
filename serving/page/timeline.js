// Chart of one customer's risk over time, above the zones of the bands; alerts are marked.

import { frame } from "./chart.js";
import { dayOf, percent, s } from "./dom.js";

// `scores`: {at: Date, churn, band}, oldest first. `alerts`: {at: Date, churn, text}.
export function timeline(width, scores, alerts, bands) {
  const height = 230, left = 40, right = 62, top = 12, bottom = 28;
  const first = scores[0].at.getTime(), span = Math.max(1, scores.at(-1).at.getTime() - first);
  const x = (at) => left + ((at.getTime() - first) / span) * (width - left - right);
  const y = (value) => height - bottom - value * (height - top - bottom);
  const parts = bands.flatMap((band, index) => {
    const upper = bands[index + 1]?.from_churn ?? 1;
    return [
      s("rect", { class: "zone", "data-band": band.band, x: left, width: width - left - right, y: y(upper), height: y(band.from_churn) - y(upper) }),
      s("text", { "data-band": band.band, x: width - right + 8, y: (y(upper) + y(band.from_churn)) / 2 + 4 }, band.band),
      s("text", { x: left - 8, y: y(band.from_churn) + 4, "text-anchor": "end" }, percent(band.from_churn)),
    ];
  });
  const path = scores.map((score, index) => `${index ? "L" : "M"}${x(score.at).toFixed(1)} ${y(score.churn).toFixed(1)}`).join("");
  parts.push(s("path", { class: "line main ink", d: path }));
  const shown = alerts.filter((alert) => alert.at.getTime() >= first && alert.at <= scores.at(-1).at);
  for (const alert of shown) {
    const at = `translate(${x(alert.at).toFixed(1)} ${y(alert.churn).toFixed(1)})`;
    parts.push(s("path", { class: "mark", transform: at, d: "M0 -7L7 0L0 7L-7 0Z" }, s("title", {}, `Alert, ${dayOf(alert.at)}: ${alert.text}`)));
  }
  const last = scores.at(-1);
  parts.push(s("circle", { "data-band": last.band, class: "now", cx: x(last.at), cy: y(last.churn), r: 5 }));
  parts.push(s("text", { x: left, y: height - 8 }, dayOf(scores[0].at)));
  if (shown.length) parts.push(s("text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, "◆ alert"));
  parts.push(s("text", { x: width - right, y: height - 8, "text-anchor": "end" }, dayOf(last.at)));
  return frame(width, height, `Risk from ${percent(scores[0].churn)} on ${dayOf(scores[0].at)} to ${percent(last.churn)} on ${dayOf(last.at)}; ${shown.length} alerts.`, ...parts);
}
