// Accuracy on matured labels, calibration, drift and label counts.

import { accuracyChart } from "./accuracy_lines.js";
import { count, duration, empty, fact, find, h, percent, update } from "./dom.js";
import { reliability } from "./reliability.js";

const WINDOW_DAYS = 7;
const BASELINES = { recency: "Recency alone", count: "Count alone", prior: "Base rate" };

// Mean over the last label days, weighted by labels: single days are noisy.
function smooth(points) {
  return points.map((point, index) => {
    const recent = points.slice(Math.max(0, index - WINDOW_DAYS + 1), index + 1);
    const labels = recent.reduce((sum, day) => sum + day.labels, 0);
    return { day: point.day, raw: point.value, labels: point.labels, value: recent.reduce((sum, day) => sum + day.value * day.labels, 0) / labels };
  });
}

// The accuracy expected from the scores themselves (CBPE) for outcomes still pending: only days after the realised line.
function estimate(trends, known) {
  const points = (trends?.estimated ?? []).map((day) => ({ day: day.due_day, value: day.estimated, raw: day.estimated, labels: day.customers }));
  return smooth(points).filter((point) => !known || point.day > known);
}

// Expected calibration error: mean distance of predicted and observed, weighted by labels.
function calibrationError(bins) {
  const total = bins.reduce((sum, bin) => sum + bin.labels, 0);
  return total ? bins.reduce((sum, bin) => sum + bin.labels * Math.abs(bin.predicted - bin.observed), 0) / total : null;
}

function drift(report) {
  if (!report) return fact("Drift", "–", "not available at the moment");
  if (!report.features) return fact("Drift", "–", "no reference to compare with yet");
  const names = report.moved.slice(0, 3).map((feature) => feature.name.replaceAll("_", " ")).join(", ");
  const scores = report.score_psi === null ? "" : `; scores PSI ${report.score_psi.toFixed(2)}`;
  return fact("Drift", report.moved.length ? `${count(report.moved.length)} of ${count(report.features)} features` : "none",
    `${names || `${count(report.features)} features watched`}${scores}`, report.score_psi > 0.25);
}

function accuracyLines(accuracy, trends) {
  const ofRole = (role) => accuracy.lines.filter((line) => line.role === role && line.points.length);
  const main = ofRole("served")[0] ?? ofRole("champion")[0];
  const rest = [...ofRole("challenger"), ...ofRole("baseline")].filter((line) => line.candidate !== "prior");
  const estimated = estimate(trends, main?.points.at(-1).day);
  const mostLabels = Math.max(0, ...accuracy.lines.map((line) => line.points.at(-1)?.labels ?? 0));
  const sampleNote = (line) => (line.points.at(-1).labels < mostLabels / 2 ? " (sample)" : "");
  return [
    ...(main ? [{ name: "Ebb", main: true, points: smooth(main.points) }] : []),
    ...(estimated.length ? [{ name: "estimated", estimate: true, points: estimated }] : []),
    ...rest.map((line) => ({
      name: BASELINES[line.candidate] ?? line.candidate.replaceAll("_", " ") + sampleNote(line), base: line.role === "baseline", points: smooth(line.points),
    })),
  ];
}

function labelStatus(labels) {
  if (labels.matured === null) return "The label store does not answer at the moment.";
  if (labels.first_due_seconds === null) return "Waiting for the first customers; their outcome is known after the horizon.";
  if (labels.first_due_seconds < 1) return "The first labels mature now.";
  return `First labels mature in about ${duration(labels.first_due_seconds)}: only then is it known who left.`;
}

function statement(drawn, bins) {
  const ebb = drawn.find((line) => line.main);
  const base = drawn.filter((line) => line.base).sort((a, b) => b.points.at(-1).value - a.points.at(-1).value)[0];
  const estimated = drawn.find((line) => line.estimate);
  if (!ebb) return [h("span", { class: "muted" }, "No outcome is known yet; the dashed line is the accuracy expected from the scores.")];
  const error = calibrationError(bins);
  const best = base ? ` ${base.name} manages ${percent(base.points.at(-1).value)}.` : "";
  return ["Of one who left and one who stayed, Ebb had ranked the leaver higher ",
    h("strong", { class: "num" }, `${percent(ebb.points.at(-1).value)} of the time`), `.${best}`,
    estimated ? ` For outcomes still pending, ${percent(estimated.points.at(-1).value)} is to be expected.` : "",
    error === null ? "" : ` Its chances are off by ${(100 * error).toFixed(1)} points on average.`];
}

export function trust(summary, trends) {
  const status = labelStatus(summary.labels);
  const drawn = summary.accuracy ? accuracyLines(summary.accuracy, trends) : [];
  const width = (id) => Math.max(280, Math.round(find(id).clientWidth));
  const bins = summary.calibration ?? [];
  update("trust", [drawn.map((line) => line.points.at(-1)), status, bins], () => (drawn.length ? statement(drawn, bins) : [h("span", { class: "muted" }, status)]));
  update("accuracy", [drawn, width("accuracy"), drawn.length ? null : status], () =>
    drawn.length ? accuracyChart(width("accuracy"), drawn) : empty("Here: how well Ebb ranked leavers above stayers, day by day."));
  update("calibration", [bins, width("calibration")], () =>
    bins.length ? reliability(width("calibration"), bins) : empty("Here: how the chances compare with the shares that left."));
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
