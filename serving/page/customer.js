// One customer: the score in words, the reasons, how it went.

import { sparkline } from "./charts.js";
import { chance, duration, empty, find, h, moment, money, points } from "./dom.js";
import { ask, Refused } from "./net.js";
import { chip } from "./rows.js";

const REFRESH = 3000;

export class Customer {
  constructor(bands) {
    this.bands = bands;
    this.dialog = find("customer");
    this.dialog.querySelector("[data-close]").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("close", () => clearInterval(this.timer));
  }

  async open(id) {
    this.id = id;
    find("customer-title").textContent = id;
    find("customer-body").replaceChildren(empty("Looking up…"));
    if (!this.dialog.open) this.dialog.showModal();
    await this.show();
    clearInterval(this.timer);
    this.timer = setInterval(() => this.show(), REFRESH);
  }

  async show() {
    const id = this.id;
    const path = `/v1/customers/${encodeURIComponent(id)}`;
    const [score, history] = await Promise.allSettled([ask(`${path}/score`), ask(`${path}/history?page_size=300`)]);
    if (id !== this.id) return;
    const body = find("customer-body");
    if (score.status === "rejected") {
      const { problem } = score.reason instanceof Refused ? score.reason : { problem: null };
      body.replaceChildren(empty(problem ? `${problem.detail} ${problem.hint ?? ""}` : "The server does not answer."));
      return;
    }
    body.replaceChildren(...this.parts(score.value, history.value?.scores ?? null));
  }

  parts(score, past) {
    const points_ = [...(past ?? []).map((one) => ({ at: new Date(one.as_of), churn: one.churn, band: one.band }))];
    const now = { at: new Date(score.as_of), churn: score.churn, band: score.band };
    if (!points_.length || now.at > points_.at(-1).at) points_.push(now);
    const strongest = Math.max(...score.reasons.map((reason) => Math.abs(reason.contribution)), 1e-9);
    return [
      h("p", { class: "verdict", "data-band": score.band },
        h("span", { class: "big" }, chance(score.churn)), h("span", {}, "chance of leaving"), chip(score.band),
        score.trend_7d === null ? null : h("span", { class: "muted num" }, `${points(score.trend_7d)} in 7 days`)),
      h("h3", {}, "What the risk goes along with"),
      h("ul", { class: "reasons" }, score.reasons.map((reason) => this.reason(reason, strongest))),
      h("h3", {}, "How it went"),
      h("div", { class: "chart" }, points_.length > 1 ? sparkline(Math.max(260, this.dialog.clientWidth - 44), points_, this.bands())
        : empty(past ? "One score so far; the line begins with the next." : "The history cannot be read at the moment.")),
      h("dl", { class: "facts" },
        fact("Value at risk", money(score.value_at_risk), "chance of leaving × expected spend"),
        fact("An offer is worth", money(score.expected_gain), "expected gain less its cost"),
        fact("Will buy in 7 days", chance(score.purchase), null),
        fact("Where", [score.country, score.channel].filter(Boolean).join(", ") || "not known", null)),
      h("p", { class: "hint" }, `By ${score.model.name} version ${score.model.version}, for ${moment(new Date(score.as_of))} (event time); `
        + `scored ${duration((Date.now() - new Date(score.scored_at)) / 1000)} ago.`),
    ];
  }

  reason(reason, strongest) {
    const bar = h("i", { class: reason.contribution < 0 ? "down" : null });
    bar.style.width = `${(50 * Math.abs(reason.contribution)) / strongest}%`;
    const effect = reason.contribution < 0 ? "lowers the risk" : "raises the risk";
    return h("li", {}, h("span", {}, reason.text), h("span", { class: "weight", role: "img", "aria-label": effect, title: effect }, bar));
  }
}

export function fact(name, value, note, bad = false) {
  return h("div", { "data-bad": bad }, h("dt", {}, name), h("dd", {}, value, note && h("small", {}, note)));
}
