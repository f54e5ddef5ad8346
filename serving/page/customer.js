// One customer: the score, its reasons, its history and the alerts.

import { chance, count, dayOf, duration, empty, fact, find, h, moment, money, points, shortReason, update } from "./dom.js";
import { handlingText } from "./handling.js";
import { ApiError, request } from "./net.js";
import { chip } from "./rows.js";
import { queryOf } from "./route.js";
import { timeline } from "./timeline.js";

const REFRESH_MS = 3000;

export class Customer {
  constructor(bands, alerts) {
    this.bands = bands;
    this.alerts = alerts;
    this.dialog = find("customer");
    this.dialog.querySelector("[data-close]").addEventListener("click", () => this.close());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.close());
    this.dialog.addEventListener("close", () => {
      clearInterval(this.timer);
      this.id = null;
    });
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }

  async open(id) {
    if (this.id === id) return;
    this.id = id;
    clearInterval(this.timer);
    find("customer-title").textContent = id;
    update("customer-body", ["looking", id], () => empty("Looking up…"));
    if (!this.dialog.open) this.dialog.showModal();
    this.timer = setInterval(() => this.refresh(), REFRESH_MS);
    await this.refresh();
  }

  async refresh() {
    const id = this.id;
    const [score, history, alerts] = await Promise.allSettled([request(`/v1/customer/score?${queryOf(id)}`),
      request(`/v1/customer/history?page_size=300&${queryOf(id)}`), this.alerts.ofCustomer(id)]);
    if (id !== this.id) return;
    if (score.status === "rejected") {
      const problem = score.reason instanceof ApiError ? score.reason.problem : null;
      const text = problem ? `${problem.detail ?? problem.title} ${problem.hint ?? ""}` : "The server does not answer. It is tried again every few seconds.";
      update("customer-body", ["error", id, text], () => empty(text));
      return;
    }
    const past = history.value?.scores ?? null;
    update("customer-body", [score.value, past, alerts.value, this.bands(), this.dialog.clientWidth], () => this.content(score.value, past, alerts.value));
  }

  content(score, history, alerts) {
    const scores = (history ?? []).map(({ as_of, churn, band }) => ({ at: new Date(as_of), churn, band }));
    const now = { at: new Date(score.as_of), churn: score.churn, band: score.band };
    if (!scores.length || now.at > scores.at(-1).at) scores.push(now);
    const marks = alerts.map((alert) => ({ at: new Date(alert.as_of), churn: alert.churn, text: shortReason(alert.why) }));
    const strongest = Math.max(...score.reasons.map((reason) => Math.abs(reason.contribution)), 1e-9);
    return [
      h("p", { class: "verdict", "data-band": score.band },
        h("span", { class: "big" }, chance(score.churn)), h("span", {}, "chance of leaving"), chip(score.band),
        score.trend_7d === null ? null : h("span", { class: "muted num" }, `${points(score.trend_7d)} in 7 days`)),
      h("dl", { class: "facts" },
        fact("Value at risk", money(score.value_at_risk), "chance × expected spend"),
        fact("An offer is worth", money(score.expected_gain), "expected gain less its cost"),
        fact("Will buy in 7 days", chance(score.purchase), null),
        fact("Where", [score.country, score.channel].filter(Boolean).join(", ") || "not known", null)),
      h("h3", {}, "What the risk goes along with now"),
      h("ul", { class: "reasons" }, score.reasons.map((reason) => this.reason(reason, strongest))),
      h("h3", {}, "How it went"),
      h("div", { class: "chart" }, scores.length > 1 ? timeline(Math.max(260, this.dialog.clientWidth - 50), scores, marks, this.bands())
        : empty(history ? "One score so far; the line begins with the next." : "The history cannot be read at the moment.")),
      h("h3", {}, alerts.length ? `Alerts (${count(alerts.length)})` : "Alerts"),
      alerts.length ? h("ol", { class: "list past" }, alerts.map((alert) => h("li", {},
        h("p", {}, h("span", { class: "num muted" }, `${dayOf(alert.as_of)} `), chip(alert.band), ` ${handlingText(alert) ?? ""}`),
        h("p", { class: "why" }, shortReason(alert.why))))) : h("p", { class: "muted" }, "None among the newest."),
      h("p", { class: "hint" }, `By ${score.model.name} version ${score.model.version}, for ${moment(new Date(score.as_of))} (event time); `
        + `scored ${duration((Date.now() - new Date(score.scored_at)) / 1000)} ago. Reasons go along with the risk; they are no proof of its cause.`),
    ];
  }

  reason(reason, strongest) {
    const bar = h("i", { class: reason.contribution < 0 ? "down" : null });
    bar.style.width = `${(50 * Math.abs(reason.contribution)) / strongest}%`;
    const effect = reason.contribution < 0 ? "lowers the risk" : "raises the risk";
    return h("li", {}, h("span", {}, shortReason(reason.text)),
      h("span", { class: "effect" }, h("span", { class: "weight", "aria-hidden": "true" }, bar), h("small", {}, effect)));
  }
}
