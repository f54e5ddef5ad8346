// Can the score be trusted: realised accuracy, calibration, labels.

import { lines, reliability } from "./charts.js";
import { fact } from "./customer.js";
import { count, duration, empty, find, h, percent, update } from "./dom.js";

const WINDOW = 7;
const BASELINES = { recency: "Recency alone", count: "Count alone", prior: "Base rate" };

// Mean over the last label days, each weighing as many labels as it has: single days jump about.
function smooth(points) {
  return points.map((point, place) => {
    const some = points.slice(Math.max(0, place - WINDOW + 1), place + 1);
    const labels = some.reduce((sum, one) => sum + one.labels, 0);
    return { day: point.day, raw: point.value, labels: point.labels, value: some.reduce((sum, one) => sum + one.value * one.labels, 0) / labels };
  });
}

function chosen(accuracy) {
  const named = (role) => accuracy.lines.filter((line) => line.role === role && line.points.length);
  const main = named("served")[0] ?? named("champion")[0];
  const rest = [...named("challenger"), ...named("baseline")].filter((line) => line.candidate !== "prior");
  return [
    ...(main ? [{ name: "Ebb", main: true, points: smooth(main.points) }] : []),
    ...rest.map((line) => ({
      name: BASELINES[line.candidate] ?? line.candidate.replaceAll("_", " "), base: line.role === "baseline", points: smooth(line.points),
    })),
  ];
}

export function due(labels) {
  if (labels.matured === null) return "The label store does not answer at the moment.";
  if (labels.first_due_seconds === null) return "Waiting for the first customers; their outcome is known after the horizon.";
  if (labels.first_due_seconds < 1) return "The first labels mature now.";
  return `First labels mature in about ${duration(labels.first_due_seconds)}: only then is it known who left.`;
}

function statement(drawn) {
  const ebb = drawn.find((line) => line.main);
  const base = drawn.filter((line) => line.base).sort((one, other) => other.points.at(-1).value - one.points.at(-1).value)[0];
  if (!ebb) return [];
  const best = base ? ` ${base.name} manages ${percent(base.points.at(-1).value)}.` : "";
  return ["Of one who left and one who stayed, Ebb had ranked the leaver higher ",
    h("strong", { class: "num" }, `${percent(ebb.points.at(-1).value)} of the time`), `.${best}`];
}

export function trust(summary) {
  const wait = due(summary.labels);
  const drawn = summary.accuracy ? chosen(summary.accuracy) : [];
  const width = (id) => Math.max(280, Math.round(find(id).clientWidth));
  update("trust", [drawn.map((line) => line.points.at(-1)), wait], () => (drawn.length ? statement(drawn) : [h("span", { class: "muted" }, wait)]));
  update("accuracy", [drawn, width("accuracy"), drawn.length ? null : wait], () =>
    drawn.length ? lines(width("accuracy"), drawn) : empty("Here: how well leavers were told from stayers, day by day."));
  const bins = summary.calibration ?? [];
  update("calibration", [bins, width("calibration")], () =>
    bins.length ? reliability(width("calibration"), bins) : empty("Here: whether the chances kept their word."));
  const { labels, model } = summary;
  const known = (value) => (value === null ? "–" : count(value));
  update("labels", [labels, model, summary.calibration === null], () => [
    fact("Outcomes known", known(labels.matured), "labels that matured"),
    fact("Outcomes pending", known(labels.pending), `known ${labels.horizon_days} days after the snapshot`),
    fact("Model in use", model ? model.candidate.replaceAll("_", " ") : "cold start", model ? `version ${model.version}, trained on ${count(model.examples)} labels` : "a plain rule until labels mature"),
  ]);
}
