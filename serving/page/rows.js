// One customer or alert as a line that opens the customer.

import { chance, h, money, points } from "./dom.js";

export const chip = (band) => h("span", { class: "chip", "data-band": band }, band);

export function moverRow(score, open) {
  const rising = score.trend_7d > 0;
  return h("li", {}, h("button", { type: "button", class: "row", onclick: () => open(score.customer_id) },
    h("span", { class: "top" },
      h("span", { class: "id" }, score.customer_id),
      chip(score.band),
      h("span", { class: `move num ${rising ? "up" : "down"}` }, `${rising ? "▲" : "▼"} ${points(score.trend_7d)}`),
      h("span", { class: "end num" }, `now ${chance(score.churn)} · ${money(score.value_at_risk)} at risk`)),
    h("span", { class: "why" }, score.reasons[0]?.text ?? "No single reason stands out."),
  ));
}

export function alertRow(alert, ago, open, fresh) {
  return h("li", { class: fresh ? "new" : null, "data-alert": alert.alert_id },
    h("button", { type: "button", class: "row", onclick: () => open(alert.customer_id) },
      h("span", { class: "top" },
        h("span", { class: "id" }, alert.customer_id),
        alert.previous_band && h("span", {}, chip(alert.previous_band), " → "),
        chip(alert.band),
        h("span", { class: "end num" }, `${money(alert.value_at_risk)} at risk · `, ago)),
      h("span", { class: "why" }, alert.why),
    ));
}
