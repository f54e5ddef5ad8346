// Handling of an alert: acknowledge, snooze, close with an outcome.

import { clockTime, find, h } from "./dom.js";
import { ApiError, request } from "./net.js";

const OUTCOMES = { retained: "they stay", left: "they left", not_reached: "not reached", no_action: "nothing was done" };
const SNOOZE_HOURS = 24;

export const statusOf = (alert) => alert.handling?.status ?? "open";

export function handlingText({ handling }) {
  if (!handling || handling.status === "open") return null;
  if (handling.status === "snoozed") return `Snoozed until ${clockTime(new Date(handling.until))}`;
  if (handling.status === "closed") return `Closed: ${OUTCOMES[handling.outcome] ?? handling.outcome}${handling.note ? ` — ${handling.note}` : ""}`;
  return `Acknowledged${handling.at ? ` at ${clockTime(new Date(handling.at))}` : ""}`;
}

// Whether the API has no handling routes, as opposed to not knowing this alert: then the buttons are hidden.
const lacksRoutes = ({ status, type }) => status === 405 || (status === 404 && !String(type ?? "").includes("alert"));

async function send(alert, action, body, onDone) {
  try {
    const response = await request(`/v1/alerts/${encodeURIComponent(alert.alert_id)}/${action}`, body);
    onDone({ ...alert, handling: response.handling });
  } catch (error) {
    if (error instanceof ApiError && lacksRoutes(error.problem)) document.body.setAttribute("data-no-handling", "");
    else onDone(alert, error instanceof ApiError ? error.message : "The server does not answer; nothing was saved.");
  }
}

function askOutcome(alert, onDone) {
  const dialog = find("outcome"), form = find("outcome-form");
  form.reset();
  find("outcome-title").textContent = `Outcome for ${alert.customer_id}`;
  form.onsubmit = () => send(alert, "outcome", { outcome: form.elements.outcome.value, note: find("outcome-note").value.trim() }, onDone);
  dialog.querySelector("[data-cancel]").onclick = () => dialog.close();
  dialog.showModal();
}

// `onDone(alert, error)` is called with the alert in its new state; `error` is a text, or absent.
export function actions(alert, onDone) {
  const status = statusOf(alert);
  const button = (label, onclick) => h("button", { type: "button", class: "act", "aria-label": `${label}: ${alert.customer_id}`, onclick }, label);
  return h("span", { class: "acts" },
    status === "open" && button("Acknowledge", () => send(alert, "acknowledge", {}, onDone)),
    (status === "open" || status === "acknowledged") && button("Snooze", () => send(alert, "snooze", { hours: SNOOZE_HOURS }, onDone)),
    button(status === "closed" ? "Correct" : "Outcome", () => askOutcome(alert, onDone)));
}
