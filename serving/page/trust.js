// Can the score be trusted: realised accuracy, calibration, labels.

import { lines } from "./accuracy_lines.js";
import { count, duration, empty, fact, find, h, percent, update } from "./dom.js";
import { reliability } from "./reliability.js";

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

// What the scores themselves promise for outcomes that are pending; its last known day joins it to the realised line.
function estimate(trends, known) {
  const points = (trends?.estimated ?? []).map((one) => ({ day: one.due_day, value: one.estimated, raw: one.estimated, labels: one.customers }));
  return smooth(points).filter((point) => !known || point.day > known);
}

// Mean distance of promise and outcome, each group weighing as many labels as it has.
function calibrationError(bins) {
  const all = bins.reduce((sum, bin) => sum + bin.labels, 0);
  return all ? bins.reduce((sum, bin) => sum + bin.labels * Math.abs(bin.predicted - bin.observed), 0) / all : null;
}

function drift(told) {
  if (!told) return fact("Drift", "–", "not told at the moment");
  if (!told.features) return fact("Drift", "–", "no reference to compare with yet");
  const names = told.moved.slice(0, 3).map((one) => one.name.replaceAll("_", " ")).join(", ");
  const scores = told.score_psi === null ? "" : `; scores PSI ${told.score_psi.toFixed(2)}`;
  return fact("Drift", told.moved.length ? `${count(told.moved.length)} of ${count(told.features)} features` : "none",
    `${names || `${count(told.features)} features watched`}${scores}`, told.score_psi > 0.25);
}

function chosen(accuracy, trends) {
  const named = (role) => accuracy.lines.filter((line) => line.role === role && line.points.length);
  const main = named("served")[0] ?? named("champion")[0];
  const rest = [...named("challenger"), ...named("baseline")].filter((line) => line.candidate !== "prior");
  const promised = estimate(trends, main?.points.at(-1).day);
  const whole = Math.max(0, ...accuracy.lines.map((line) => line.points.at(-1)?.labels ?? 0));
  const share = (line) => (line.points.at(-1).labels < whole / 2 ? " (sample)" : "");
  return [
    ...(main ? [{ name: "Ebb", main: true, points: smooth(main.points) }] : []),
    ...(promised.length ? [{ name: "estimated", estimate: true, points: promised }] : []),
    ...rest.map((line) => ({
      name: BASELINES[line.candidate] ?? line.candidate.replaceAll("_", " ") + share(line), base: line.role === "baseline", points: smooth(line.points),
    })),
  ];
}

export function due(labels) {
  if (labels.matured === null) return "The label store does not answer at the moment.";
  if (labels.first_due_seconds === null) return "Waiting for the first customers; their outcome is known after the horizon.";
  if (labels.first_due_seconds < 1) return "The first labels mature now.";
  return `First labels mature in about ${duration(labels.first_due_seconds)}: only then is it known who left.`;
}

function statement(drawn, bins) {
  const ebb = drawn.find((line) => line.main);
  const base = drawn.filter((line) => line.base).sort((one, other) => other.points.at(-1).value - one.points.at(-1).value)[0];
  const promised = drawn.find((line) => line.estimate);
  if (!ebb) return [h("span", { class: "muted" }, "No outcome is known yet; the dashed line is what the scores promise.")];
  const error = calibrationError(bins);
  const best = base ? ` ${base.name} manages ${percent(base.points.at(-1).value)}.` : "";
  return ["Of one who left and one who stayed, Ebb had ranked the leaver higher ",
    h("strong", { class: "num" }, `${percent(ebb.points.at(-1).value)} of the time`), `.${best}`,
    promised ? ` For outcomes still pending, ${percent(promised.points.at(-1).value)} is to be expected.` : "",
    error === null ? "" : ` Its chances are off by ${(100 * error).toFixed(1)} points on average.`];
}

export function trust(summary, trends) {
  const wait = due(summary.labels);
  const drawn = summary.accuracy ? chosen(summary.accuracy, trends) : [];
  const width = (id) => Math.max(280, Math.round(find(id).clientWidth));
  const bins = summary.calibration ?? [];
  update("trust", [drawn.map((line) => line.points.at(-1)), wait, bins], () => (drawn.length ? statement(drawn, bins) : [h("span", { class: "muted" }, wait)]));
  update("accuracy", [drawn, width("accuracy"), drawn.length ? null : wait], () =>
    drawn.length ? lines(width("accuracy"), drawn) : empty("Here: how well leavers were told from stayers, day by day."));
  update("calibration", [bins, width("calibration")], () =>
    bins.length ? reliability(width("calibration"), bins) : empty("Here: whether the chances kept their word."));
  const { labels, model } = summary;
  const known = (value) => (value === null ? "–" : count(value));
  update("labels", [labels, model, bins, trends?.drift], () => [
    fact("Outcomes known", known(labels.matured), "labels that matured"),
    fact("Outcomes pending", known(labels.pending), `known ${labels.horizon_days} days after the snapshot`),
    fact("Model in use", model ? model.candidate.replaceAll("_", " ") : "cold start", model ? `version ${model.version}, trained on ${count(model.examples)} labels` : "a plain rule until labels mature"),
    fact("Calibration error", bins.length ? `${(100 * calibrationError(bins)).toFixed(1)} points` : "–", bins.length ? "ECE, outcomes of the last 30 days" : "known with the first outcomes"),
    drift(trends?.drift),
  ]);
}
