// Announces new alerts to screen readers, at most one sentence in ten seconds,
// and counts in the tab's title the critical ones that came while the tab was hidden.

import { count, find } from "./dom.js";

const INTERVAL_MS = 10000;
let pending = [];
let timer = null;
let unseen = 0;

function flush() {
  timer = null;
  if (!pending.length) return;
  const critical = pending.filter((alert) => alert.band === "critical");
  const customer = (critical[0] ?? pending[0]).customer_id;
  find("announce").textContent = pending.length === 1
    ? `Alert: ${customer} is now ${pending[0].band}.`
    : `${count(pending.length)} alerts, ${count(critical.length)} critical; among them ${customer}.`;
  pending = [];
  timer = setTimeout(flush, INTERVAL_MS);
}

export function announce(alert) {
  pending.push(alert);
  timer ??= setTimeout(flush, 300);
  if (document.hidden && alert.band === "critical") {
    unseen += 1;
    document.title = `(${count(unseen)} critical) Ebb`;
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unseen = 0;
  document.title = "Ebb";
});
