// What is done about an alert: taken up, put off, closed with how it ended.

import { clockTime, find, h } from "./dom.js";
import { ask, Refused } from "./net.js";

const ENDED = { retained: "they stay", left: "they left", not_reached: "not reached", no_action: "nothing was done" };
const HOURS = 24;

export const statusOf = (alert) => alert.handling?.status ?? "open";

export function told({ handling }) {
  if (!handling || handling.status === "open") return null;
  if (handling.status === "snoozed") return `Snoozed until ${clockTime(new Date(handling.until))}`;
  if (handling.status === "closed") return `Closed: ${ENDED[handling.outcome] ?? handling.outcome}${handling.note ? ` — ${handling.note}` : ""}`;
  return `Acknowledged${handling.at ? ` at ${clockTime(new Date(handling.at))}` : ""}`;
}

// An API without these routes has nothing to press; an alert that it no longer knows is another matter.
const withoutRoutes = ({ status, type }) => status === 405 || (status === 404 && !String(type ?? "").includes("alert"));

async function act(alert, what, body, done) {
  try {
    const answer = await ask(`/v1/alerts/${encodeURIComponent(alert.alert_id)}/${what}`, body);
    done({ ...alert, handling: answer.handling });
  } catch (error) {
    if (error instanceof Refused && withoutRoutes(error.problem)) document.body.setAttribute("data-no-handling", "");
    else done(alert, error instanceof Refused ? error.message : "The server does not answer; nothing was noted.");
  }
}

function askOutcome(alert, done) {
  const dialog = find("outcome"), form = find("outcome-form");
  form.reset();
  find("outcome-title").textContent = `Outcome for ${alert.customer_id}`;
  form.onsubmit = () => act(alert, "outcome", { outcome: form.elements.outcome.value, note: find("outcome-note").value.trim() }, done);
  dialog.querySelector("[data-cancel]").onclick = () => dialog.close();
  dialog.showModal();
}

// `done(alert, trouble)` is called with the alert as it then stands.
export function actions(alert, done) {
  const status = statusOf(alert);
  const button = (words, press) => h("button", { type: "button", class: "act", "aria-label": `${words}: ${alert.customer_id}`, onclick: press }, words);
  return h("span", { class: "acts" },
    status === "open" && button("Acknowledge", () => act(alert, "acknowledge", {}, done)),
    (status === "open" || status === "acknowledged") && button("Snooze", () => act(alert, "snooze", { hours: HOURS }, done)),
    button(status === "closed" ? "Correct" : "Outcome", () => askOutcome(alert, done)));
}
