// Pipeline health: arrivals, lag and dead letters.

import { lagBars } from "./lag_bars.js";
import { count, duration, fact, find, h, moment, update } from "./dom.js";

const MAX_STALENESS_SECONDS = 60;
const MAX_LAG_SECONDS = 30;

function statement(pipeline, staleness) {
  if (!pipeline) return "Kafka does not answer: whether the workers keep up is not known.";
  if (pipeline.time_held) return "Nobody sends: time is held, and no risk moves until events come again.";
  if (staleness === null) return "Waiting for the first scores.";
  if (pipeline.lag_seconds > MAX_LAG_SECONDS) return `Behind: events wait for up to ${duration(pipeline.lag_seconds)} before they count.`;
  if (staleness > MAX_STALENESS_SECONDS) return `Quiet: no score was made for ${duration(staleness)}.`;
  return "Yes: scores keep up with what customers do.";
}

export function health(summary) {
  const { pipeline, dead_letters: deadLetters } = summary;
  const refused = Math.max(deadLetters.total ?? 0, Object.values(deadLetters.by_reason ?? {}).reduce((sum, events) => sum + events, 0));
  const reasons = Object.entries(deadLetters.by_reason ?? {}).map(([reason, events]) => `${count(events)} ${reason.replaceAll("_", " ")}`);
  const staleness = summary.staleness_seconds;
  update("pace", statement(pipeline, staleness), (text) => text);
  update("health", [pipeline, deadLetters, Math.round(staleness ?? -1), summary.as_of], () => [
    fact("Events arriving", pipeline ? `${count(pipeline.events_per_second)} / s` : "–", pipeline ? (pipeline.time_held ? `the last ${moment(new Date(pipeline.last_event_at))}` : `${count(pipeline.processed_per_second)} / s processed`) : "Kafka does not answer", pipeline?.time_held),
    fact("In work", pipeline ? `${count(pipeline.lag_events)} events` : "–", pipeline ? `the oldest for ${duration(pipeline.lag_seconds)}` : null, pipeline?.lag_seconds > MAX_LAG_SECONDS),
    fact("Latest score", staleness === null ? "–" : `${duration(staleness)} ago`, summary.as_of ? `describes ${moment(new Date(summary.as_of))}` : "none yet", staleness > MAX_STALENESS_SECONDS),
    fact("Dead letters", deadLetters.total === null && !deadLetters.by_reason ? "–" : count(refused), reasons.join(", ") || "nothing was refused"),
  ]);
  const width = Math.max(280, Math.round(find("lags").clientWidth));
  update("lags", [pipeline?.partitions, width], () => (pipeline ? [h("p", { class: "hint" }, "Events in work (not yet committed), by partition"), lagBars(width, pipeline.partitions)] : []));
}
