// The page: polls the summary every two seconds and receives alerts over the stream.

import { Alerts } from "./alerts.js";
import { bands, bandsOverTime, riskHistogram } from "./bands.js";
import { Calls } from "./calls.js";
import { Customer } from "./customer.js";
import { clockTime, duration, find, moment } from "./dom.js";
import { health } from "./health.js";
import { listenToKeys } from "./keyboard.js";
import { movers } from "./movers.js";
import { ApiError, request, storeKey } from "./net.js";
import { customerOf, queryOf, route } from "./route.js";
import { Stream } from "./stream.js";
import { trust } from "./trust.js";

const SUMMARY_INTERVAL_MS = 2000;
const TRENDS_INTERVAL_MS = 10000;
let latest = null;
let trends = null;
let fetchedAt = 0;
let trendsAt = -Infinity;

const open = (id) => { location.hash = route(id); };

// Blanks around an id are mostly pasted with it, but may be part of it.
async function lookUp(typed) {
  const id = typed.trim();
  const exact = id === typed || await request(`/v1/customer/score?${queryOf(typed)}`).then(() => true, () => false);
  open(exact ? typed : id || typed);
}

const alerts = new Alerts(open);
const customer = new Customer(() => latest?.bands ?? [], alerts);
const calls = new Calls(open);

function draw() {
  if (!latest) return;
  bands(latest, trends);
  bandsOverTime(latest, trends);
  riskHistogram(latest);
  movers(latest, open);
  trust(latest, trends);
  health(latest);
  calls.setCountries(trends?.countries ?? []);
  document.querySelectorAll("[data-horizon]").forEach((span) => { span.textContent = latest.labels.horizon_days; });
}

function notice(text) {
  if (find("notice").textContent === (text ?? "")) return;
  find("notice").hidden = !text;
  find("notice").textContent = text ?? "";
}

function drawClock() {
  if (!latest) return;
  const passed = ((Date.now() - fetchedAt) / latest.day_seconds) * 86400;
  const pace = latest.day_seconds < 86400 ? ` · a day passes in ${duration(latest.day_seconds)}` : "";
  find("clock").textContent = `${moment(new Date(new Date(latest.event_time).getTime() + passed))}${pace}`;
}

async function refresh() {
  const first = !latest;
  latest = await request("/v1/summary");
  fetchedAt = Date.now();
  if (fetchedAt - trendsAt > TRENDS_INTERVAL_MS) {
    trendsAt = fetchedAt;
    // Not awaited: ClickHouse may take longer to read the days than the page should wait.
    request("/v1/trends").then((answer) => { trends = answer; draw(); }, () => { trendsAt = -Infinity; });
  }
  document.body.removeAttribute("data-stale");
  const unavailable = latest.unavailable.map((name) => name.replaceAll("_", " "));
  notice(unavailable.length ? `Not available at the moment: ${unavailable.join(", ")}. The rest is live.` : null);
  draw();
  drawClock();
  if (first && customer.id) customer.refresh(); // its timeline needs the bands
  await calls.refresh();
}

async function poll() {
  if (!document.hidden) {
    try {
      await refresh();
    } catch (error) {
      if (error instanceof ApiError && error.problem.status === 401) return promptForKey(error.message);
      if (error instanceof ApiError && error.problem.status === 429) notice("The server asks to wait a little. The page goes on by itself.");
      else {
        document.body.setAttribute("data-stale", "");
        notice(`The server does not answer. ${fetchedAt ? `What you see is as of ${clockTime(new Date(fetchedAt))} and stands still. ` : ""}It is tried again every few seconds.`);
      }
    }
  }
  return setTimeout(poll, SUMMARY_INTERVAL_MS);
}

function promptForKey(reason) {
  find("key-why").textContent = `${reason} It is kept in this tab only.`;
  if (!find("key").open) find("key").showModal();
}

function openRoute() {
  const id = customerOf(location.hash);
  if (id === null) customer.close();
  else customer.open(id);
}

function start() {
  const stream = new Stream(["alerts"], {
    message: (type, data) => type === "alert" && alerts.add(data),
    state: (state, text) => {
      if (find("link").textContent === text) return;
      find("link").dataset.state = state;
      find("link").textContent = text;
    },
    refetch: () => alerts.fetch().catch(() => {}),
  });
  alerts.fetch().catch(() => {}).finally(() => stream.open());
  poll();
  openRoute();
}

find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  storeKey(find("key-input").value.trim());
  location.reload();
});
find("look-up").addEventListener("submit", (event) => {
  event.preventDefault();
  lookUp(find("customer-id").value);
});
find("customer").addEventListener("close", () => {
  if (customerOf(location.hash) !== null) history.pushState(null, "", location.pathname);
});
addEventListener("hashchange", openRoute);
addEventListener("resize", draw);
listenToKeys();
setInterval(drawClock, 500);
start();
