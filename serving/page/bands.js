// Customers by band: now, over the last days, and by churn probability.

import { dayLines } from "./day_lines.js";
import { histogram } from "./histogram.js";
import { spark } from "./spark.js";
import { count, empty, find, h, money, percent, signed, update } from "./dom.js";

const WEEK_DAYS = 7;
const width = (id) => Math.max(280, Math.round(find(id).clientWidth));
const series = (trends, pick) => (trends?.bands ?? []).map(({ day, bands }) => ({ day, value: pick(bands) }));

// The change since the end of the day a week ago, if that day is known.
function change(points, now, format) {
  const before = points.at(-1 - WEEK_DAYS);
  if (!before) return h("p", { class: "num delta" }, "no week to compare with yet");
  const difference = now - before.value;
  return h("p", { class: "num delta" }, `${signed(difference, format)} in 7 days`);
}

function tile({ name, note, now, format, points, band, foot }) {
  return h("article", { class: "band", "data-band": band },
    h("h3", {}, name, h("small", { class: "num" }, note)),
    h("div", { class: "pair" }, h("p", { class: "big" }, format(now)), spark(points.map((point) => point.value))),
    change(points, now, format),
    h("p", { class: "num" }, foot));
}

export function bands(summary, trends) {
  update("customers", summary.customers, (total) => (total ? `${count(total)} known` : ""));
  const history = summary.bands.map((_, index) => series(trends, (bands) => bands[index].customers));
  const values = series(trends, (bands) => bands.reduce((sum, band) => sum + band.value_at_risk, 0));
  update("bands", [summary.bands, summary.customers, history, values], () => [
    tile({ name: "Value at risk", note: "all bands", now: summary.value_at_risk, format: money, points: values,
      foot: "chance × expected spend" }),
    ...summary.bands.map((band, index) => tile({
      name: band.band[0].toUpperCase() + band.band.slice(1), band: band.band, now: band.customers, format: count, points: history[index],
      note: band.from_churn ? `from ${percent(band.from_churn)}` : `below ${percent(summary.bands[1].from_churn)}`,
      foot: `${percent(summary.customers ? band.customers / summary.customers : 0, 1)} · ${money(band.value_at_risk)} at risk`,
    })).reverse(),
  ]);
}

export function bandsOverTime(summary, trends) {
  const days = trends?.bands;
  update("over", [days, width("over")], () => {
    if (!trends) return empty("Reading the last days…");
    if (!days) return empty("The history cannot be read at the moment.");
    if (days.length < 2) return empty("The lines begin with the second day of scores.");
    const lines = [3, 2, 1].map((index) => ({ band: days[0].bands[index].band, points: series(trends, (bands) => bands[index].customers) }));
    return dayLines(width("over"), lines);
  });
}

export function riskHistogram(summary) {
  update("histogram", [summary.histogram, summary.bands.map((band) => band.customers), width("histogram")], () =>
    summary.customers ? histogram(width("histogram"), summary.histogram, summary.bands)
      : empty("Waiting for the first scores. They come as soon as a worker has seen an event."));
}
