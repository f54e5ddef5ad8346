// The page: asks for the summary every two seconds, hears alerts as they come.

import { Alerts } from "./alerts.js";
import { bands, bandsOverTime, spread } from "./bands.js";
import { Calls } from "./calls.js";
import { Customer } from "./customer.js";
import { clockTime, duration, find, moment } from "./dom.js";
import { health } from "./health.js";
import { keyboard } from "./keyboard.js";
import { movers } from "./movers.js";
import { ask, keepKey, Refused } from "./net.js";
import { customerOf, route } from "./route.js";
import { Stream } from "./stream.js";
import { trust } from "./trust.js";

const EVERY = 2000;
const TRENDS_EVERY = 10000;
let latest = null;
let trends = null;
let fetchedAt = 0;
let trendsAt = -Infinity;

const open = (id) => { location.hash = route(id); };
const alerts = new Alerts(open);
const customer = new Customer(() => latest?.bands ?? [], alerts);
const calls = new Calls(open);

function draw() {
  if (!latest) return;
  bands(latest, trends);
  bandsOverTime(latest, trends);
  spread(latest);
  movers(latest, open);
  trust(latest, trends);
  health(latest);
  calls.offer(trends?.countries ?? []);
  document.querySelectorAll("[data-horizon]").forEach((span) => { span.textContent = latest.labels.horizon_days; });
}

function notice(text) {
  if (find("notice").textContent === (text ?? "")) return;
  find("notice").hidden = !text;
  find("notice").textContent = text ?? "";
}

function tick() {
  if (!latest) return;
  const passed = ((Date.now() - fetchedAt) / latest.day_seconds) * 86400;
  const pace = latest.day_seconds < 86400 ? ` · a day passes in ${duration(latest.day_seconds)}` : "";
  find("clock").textContent = `${moment(new Date(new Date(latest.event_time).getTime() + passed))}${pace}`;
}

async function refresh() {
  const first = !latest;
  latest = await ask("/v1/summary");
  fetchedAt = Date.now();
  if (fetchedAt - trendsAt > TRENDS_EVERY) {
    trendsAt = fetchedAt;
    // Asked beside the rest: reading the days takes ClickHouse longer than the page should wait.
    ask("/v1/trends").then((told) => { trends = told; draw(); }, () => { trendsAt = -Infinity; });
  }
  document.body.removeAttribute("data-stale");
  const away = latest.unavailable.map((name) => name.replaceAll("_", " "));
  notice(away.length ? `Not available at the moment: ${away.join(", ")}. The rest is live.` : null);
  draw();
  tick();
  if (first && customer.id) customer.show(); // the zones of its timeline come with the bands
  await calls.refresh();
}

async function poll() {
  if (!document.hidden) {
    try {
      await refresh();
    } catch (error) {
      if (error instanceof Refused && error.problem.status === 401) return askForKey(error.message);
      if (error instanceof Refused && error.problem.status === 429) notice("The server asks to wait a little. The page goes on by itself.");
      else {
        document.body.setAttribute("data-stale", "");
        notice(`The server does not answer. ${fetchedAt ? `What you see is as of ${clockTime(new Date(fetchedAt))} and stands still. ` : ""}It is tried again every few seconds.`);
      }
    }
  }
  return setTimeout(poll, EVERY);
}

function askForKey(why) {
  find("key-why").textContent = `${why} It is kept in this tab only.`;
  if (!find("key").open) find("key").showModal();
}

function follow() {
  const id = customerOf(location.hash);
  if (id === null) customer.close();
  else customer.open(id);
}

function begin() {
  const stream = new Stream(["alerts"], {
    message: (type, data) => type === "alert" && alerts.add(data),
    state: (state, words) => {
      if (find("link").textContent === words) return;
      find("link").dataset.state = state;
      find("link").textContent = words;
    },
    refetch: () => alerts.fetch().catch(() => {}),
  });
  alerts.fetch().catch(() => {}).finally(() => stream.open());
  poll();
  follow();
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
find("customer").addEventListener("close", () => {
  if (customerOf(location.hash) !== null) history.pushState(null, "", location.pathname);
});
addEventListener("hashchange", follow);
addEventListener("resize", draw);
keyboard();
setInterval(tick, 500);
begin();
