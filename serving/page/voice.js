// Says to those who do not see the list that alerts came: at most one sentence in ten seconds, never a flood.
// And tells by the tab's title how many critical ones came while nobody looked.

import { count, find } from "./dom.js";

const EVERY = 10000;
let waiting = [];
let timer = null;
let unseen = 0;

function say() {
  timer = null;
  if (!waiting.length) return;
  const critical = waiting.filter((alert) => alert.band === "critical");
  const named = (critical[0] ?? waiting[0]).customer_id;
  find("announce").textContent = waiting.length === 1
    ? `Alert: ${named} is now ${waiting[0].band}.`
    : `${count(waiting.length)} alerts, ${count(critical.length)} critical; among them ${named}.`;
  waiting = [];
  timer = setTimeout(say, EVERY);
}

export function tell(alert) {
  waiting.push(alert);
  timer ??= setTimeout(say, 300);
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
