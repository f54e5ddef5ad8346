// List rows of a customer or an alert; a click opens the customer.

import { chance, h, money, points, shortReason } from "./dom.js";

export const chip = (band) => h("span", { class: "chip", "data-band": band }, band);
const figure = (name, value) => h("span", { class: "num figure" }, h("span", { class: "hidden" }, `, ${name} `), value);

export function callRow(score, open) {
  return h("li", {}, h("button", { type: "button", class: "row columns", onclick: () => open(score.customer_id), "data-customer": score.customer_id },
    h("span", { class: "who" }, h("span", { class: "id" }, score.customer_id), " ", chip(score.band), " ",
      h("span", { class: "muted" }, score.country ?? "")),
    figure("chance of leaving", chance(score.churn)),
    figure("value at risk", money(score.value_at_risk)),
    figure("expected gain of an offer", money(score.expected_gain)),
    h("span", { class: "why" }, shortReason(score.reasons[0]?.text ?? "No single reason stands out.")),
  ));
}

// The strongest reason whose effect has the direction of the change.
function reasonFor(score, rising) {
  const reason = score.reasons.find(({ contribution }) => contribution > 0 === rising) ?? score.reasons[0];
  return reason ? shortReason(reason.text) : "No single reason stands out.";
}

export function moverRow(score, open) {
  const rising = score.trend_7d > 0;
  return h("li", {}, h("button", { type: "button", class: "row", onclick: () => open(score.customer_id) },
    h("span", { class: "top" },
      h("span", { class: "id" }, score.customer_id), " ",
      chip(score.band), " ",
      h("span", { class: `move num ${rising ? "up" : "down"}` }, `${rising ? "▲" : "▼"} ${points(score.trend_7d)}`), " ",
      h("span", { class: "end num" }, `now ${chance(score.churn)} · ${money(score.value_at_risk)} at risk`)),
    h("span", { class: "why" }, reasonFor(score, rising)),
  ));
}

export function alertRow(alert, { ago, open, fresh, buttons, status, note }) {
  return h("li", { class: fresh ? "new" : null, "data-alert": alert.alert_id, "data-status": status },
    h("button", { type: "button", class: "row", onclick: () => open(alert.customer_id) },
      h("span", { class: "top" },
        h("span", { class: "id" }, alert.customer_id), " ",
        alert.previous_band && h("span", {}, chip(alert.previous_band), " → "),
        chip(alert.band), " ",
        h("span", { class: "end num" }, `${money(alert.value_at_risk)} at risk · `, ago)),
      h("span", { class: "why" }, shortReason(alert.why)),
    ),
    h("div", { class: "foot" }, h("span", { class: "note" }, note ?? ""), buttons));
}
