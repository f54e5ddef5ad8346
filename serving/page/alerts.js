// The list of alerts: the newest on top, bounded, with a pause for reading.

import { duration, empty, find, h } from "./dom.js";
import { ask } from "./net.js";
import { alertRow } from "./rows.js";

const KEPT = 60;

export class Alerts {
  constructor(open) {
    this.open = open;
    this.list = find("alerts");
    this.alerts = [];
    this.waiting = [];
    this.paused = false;
    const button = find("pause");
    button.addEventListener("click", () => {
      this.paused = !this.paused;
      button.setAttribute("aria-pressed", String(this.paused));
      if (!this.paused) {
        this.waiting.forEach((alert) => this.take(alert));
        this.waiting = [];
      }
      this.tell();
    });
    this.draw();
    setInterval(() => this.age(), 5000);
  }

  async fetch() {
    const { alerts } = await ask(`/v1/alerts?page_size=${KEPT}`);
    this.alerts = alerts;
    this.draw();
  }

  add(alert) {
    if (this.paused) {
      this.waiting.push(alert);
      this.waiting = this.waiting.slice(-KEPT);
      this.tell();
    } else {
      this.take(alert);
    }
  }

  take(alert) {
    if (this.alerts.some((known) => known.alert_id === alert.alert_id)) return;
    if (!this.alerts.length) this.list.replaceChildren();
    this.alerts.unshift(alert);
    this.list.prepend(this.row(alert, true));
    if (this.alerts.length > KEPT) {
      this.alerts.pop();
      this.list.lastElementChild.remove();
    }
  }

  row(alert, fresh) {
    const ago = h("time", { datetime: alert.raised_at }, this.ago(alert));
    return alertRow(alert, ago, this.open, fresh);
  }

  ago(alert) {
    const seconds = (Date.now() - new Date(alert.raised_at)) / 1000;
    return seconds < 5 ? "now" : `${duration(seconds)} ago`;
  }

  age() {
    for (const time of this.list.querySelectorAll("time")) time.textContent = this.ago({ raised_at: time.dateTime });
  }

  tell() {
    find("pause").textContent = this.paused ? `Resume${this.waiting.length ? ` (${this.waiting.length} new)` : ""}` : "Pause";
  }

  draw() {
    const none = h("li", {}, empty("No alerts yet. They appear here the moment a customer moves into another band."));
    this.list.replaceChildren(...(this.alerts.length ? this.alerts.map((alert) => this.row(alert, false)) : [none]));
  }
}
