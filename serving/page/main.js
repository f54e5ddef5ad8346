// The page: asks for the summary every two seconds, hears alerts as they come.

import { Alerts } from "./alerts.js";
import { histogram, lagBars } from "./charts.js";
import { Customer, fact } from "./customer.js";
import { count, duration, empty, find, h, moment, money, percent, update } from "./dom.js";
import { ask, keepKey, Refused } from "./net.js";
import { moverRow } from "./rows.js";
import { Stream } from "./stream.js";
import { trust } from "./trust.js";

const EVERY = 2000;
const STALE_SECONDS = 60;
let latest = null;
let fetchedAt = 0;

const customer = new Customer(() => latest?.bands ?? []);
const open = (id) => customer.open(id);
const alerts = new Alerts(open);

function bands(summary) {
  update("customers", summary.customers, (all) => (all ? `${count(all)} known` : ""));
  update("bands", [summary.bands, summary.customers], () =>
    [...summary.bands].reverse().map((band) => {
      const share = summary.customers ? band.customers / summary.customers : 0;
      const bar = h("i");
      bar.style.width = `${100 * share}%`;
      const from = band.from_churn ? `from ${percent(band.from_churn)}` : `below ${percent(summary.bands[1].from_churn)}`;
      return h("article", { class: "band", "data-band": band.band },
        h("h3", {}, band.band[0].toUpperCase() + band.band.slice(1), h("small", { class: "num" }, from)),
        h("p", { class: "big" }, count(band.customers)),
        h("div", { class: "share", "aria-hidden": "true" }, bar),
        h("p", { class: "num" }, `${percent(share, 1)} of customers`),
        h("p", { class: "num", title: "Chance of leaving × the spend expected, summed over these customers" }, `${money(band.value_at_risk)} at risk`));
    }));
}

function spread(summary) {
  const width = Math.max(280, Math.round(find("histogram").clientWidth));
  update("histogram", [summary.histogram, summary.bands.map((band) => band.customers), width], () =>
    summary.customers ? histogram(width, summary.histogram, summary.bands) : empty("Waiting for the first scores. They come as soon as a worker has seen an event."));
}

function movers(summary) {
  const wait = duration(7 * summary.day_seconds);
  for (const way of ["up", "down"]) {
    update(way, summary.movers[way].map((score) => [score.customer_id, score.trend_7d, score.churn, score.reasons]), () =>
      summary.movers[way].length ? summary.movers[way].map((score) => moverRow(score, open))
        : h("li", {}, empty(`Nobody yet. A change shows once a customer has been known for 7 days (${wait} at this pace).`)));
  }
}

function health(summary) {
  const { pipeline, dead_letters: dead } = summary;
  const refused = Math.max(dead.total ?? 0, Object.values(dead.by_reason ?? {}).reduce((sum, times) => sum + times, 0));
  const reasons = Object.entries(dead.by_reason ?? {}).map(([reason, times]) => `${count(times)} ${reason.replaceAll("_", " ")}`);
  const fresh = summary.staleness_seconds;
  update("health", [pipeline, dead, Math.round(fresh ?? -1), summary.as_of], () => [
    fact("Events arriving", pipeline ? `${count(pipeline.events_per_second)} / s` : "–", pipeline ? `${count(pipeline.processed_per_second)} / s processed` : "Kafka does not answer"),
    fact("In work", pipeline ? `${count(pipeline.lag_events)} events` : "–", pipeline ? `not yet committed, the oldest for ${duration(pipeline.lag_seconds)}` : null, pipeline?.lag_seconds > 30),
    fact("Latest score", fresh === null ? "–" : `${duration(fresh)} ago`, summary.as_of ? `describes ${moment(new Date(summary.as_of))}` : "none yet", fresh > STALE_SECONDS),
    fact("Refused events", dead.total === null && !dead.by_reason ? "–" : count(refused), reasons.join(", ") || "nothing was refused"),
  ]);
  const width = Math.max(280, Math.round(find("lags").clientWidth));
  update("lags", [pipeline?.partitions, width], () => (pipeline ? [h("p", { class: "hint" }, "Events not yet committed, by partition"), lagBars(width, pipeline.partitions)] : []));
}

function draw() {
  if (!latest) return;
  [bands, spread, movers, trust, health].forEach((part) => part(latest));
  document.querySelectorAll("[data-horizon]").forEach((span) => { span.textContent = latest.labels.horizon_days; });
  const high = latest.bands[3].customers;
  document.title = high ? `(${count(high)}) Ebb` : "Ebb";
  const away = latest.unavailable.map((name) => name.replaceAll("_", " "));
  notice(away.length ? `Not available at the moment: ${away.join(", ")}. The rest is live.` : null);
}

function notice(text) {
  find("notice").hidden = !text;
  find("notice").textContent = text ?? "";
}

function tick() {
  if (!latest) return;
  const passed = ((Date.now() - fetchedAt) / latest.day_seconds) * 86400;
  const pace = latest.day_seconds < 86400 ? ` · a day passes in ${duration(latest.day_seconds)}` : "";
  find("clock").textContent = `${moment(new Date(new Date(latest.event_time).getTime() + passed))}${pace}`;
}

async function poll() {
  if (!document.hidden) {
    try {
      latest = await ask("/v1/summary");
      fetchedAt = Date.now();
      draw();
      tick();
    } catch (error) {
      if (error instanceof Refused && error.problem.status === 401) return askForKey(error.message);
      notice("The server does not answer. What you see is as of the last answer.");
    }
  }
  return setTimeout(poll, EVERY);
}

function askForKey(why) {
  find("key-why").textContent = `${why} It is kept in this tab only.`;
  if (!find("key").open) find("key").showModal();
}

function begin() {
  const stream = new Stream(["alerts"], {
    message: (type, data) => type === "alert" && alerts.add(data),
    state: (state, words) => {
      find("link").dataset.state = state;
      find("link").textContent = words;
    },
    refetch: () => alerts.fetch().catch(() => {}),
  });
  alerts.fetch().catch(() => {}).finally(() => stream.open());
  poll();
}

find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(find("key-input").value.trim());
  location.reload();
});
find("look-up").addEventListener("submit", (event) => {
  event.preventDefault();
  open(find("customer-id").value.trim());
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/INPUT|TEXTAREA/.test(document.activeElement.tagName)) {
    event.preventDefault();
    find("customer-id").focus();
  }
});
addEventListener("resize", draw);
setInterval(tick, 500);
begin();
