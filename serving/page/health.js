// Is it up to date: what arrives, what waits, what was refused.

import { lagBars } from "./lag_bars.js";
import { count, duration, fact, find, h, moment, update } from "./dom.js";

const STALE_SECONDS = 60;
const LATE_SECONDS = 30;

function pace(pipeline, fresh) {
  if (!pipeline) return "Kafka does not answer: whether the workers keep up cannot be told.";
  if (fresh === null) return "Waiting for the first scores.";
  if (pipeline.lag_seconds > LATE_SECONDS) return `Behind: events wait for up to ${duration(pipeline.lag_seconds)} before they count.`;
  if (fresh > STALE_SECONDS) return `Quiet: no score was made for ${duration(fresh)}.`;
  return "Yes: scores keep up with what customers do.";
}

export function health(summary) {
  const { pipeline, dead_letters: dead } = summary;
  const refused = Math.max(dead.total ?? 0, Object.values(dead.by_reason ?? {}).reduce((sum, times) => sum + times, 0));
  const reasons = Object.entries(dead.by_reason ?? {}).map(([reason, times]) => `${count(times)} ${reason.replaceAll("_", " ")}`);
  const fresh = summary.staleness_seconds;
  update("pace", pace(pipeline, fresh), (words) => words);
  update("health", [pipeline, dead, Math.round(fresh ?? -1), summary.as_of], () => [
    fact("Events arriving", pipeline ? `${count(pipeline.events_per_second)} / s` : "–", pipeline ? `${count(pipeline.processed_per_second)} / s processed` : "Kafka does not answer"),
    fact("In work", pipeline ? `${count(pipeline.lag_events)} events` : "–", pipeline ? `the oldest for ${duration(pipeline.lag_seconds)}` : null, pipeline?.lag_seconds > LATE_SECONDS),
    fact("Latest score", fresh === null ? "–" : `${duration(fresh)} ago`, summary.as_of ? `describes ${moment(new Date(summary.as_of))}` : "none yet", fresh > STALE_SECONDS),
    fact("Dead letters", dead.total === null && !dead.by_reason ? "–" : count(refused), reasons.join(", ") || "nothing was refused"),
  ]);
  const width = Math.max(280, Math.round(find("lags").clientWidth));
  update("lags", [pipeline?.partitions, width], () => (pipeline ? [h("p", { class: "hint" }, "Events in work (not yet committed), by partition"), lagBars(width, pipeline.partitions)] : []));
}
