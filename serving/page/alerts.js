// The list of alerts: the newest on top, bounded; it waits while somebody reads.

import { duration, empty, find, h } from "./dom.js";
import { actions, statusOf, told } from "./handling.js";
import { ask } from "./net.js";
import { alertRow } from "./rows.js";
import { tell } from "./voice.js";

const KEPT = 60;
const AGAIN = 15000;

export class Alerts {
  constructor(open) {
    this.open = open;
    this.list = find("alerts");
    this.alerts = [];
    this.waiting = [];
    this.came = [];
    this.paused = false;
    find("pause").addEventListener("click", () => {
      this.paused = !this.paused;
      find("pause").setAttribute("aria-pressed", String(this.paused));
      this.release();
    });
    // What is under the pointer or the focus must not slide away from it.
    for (const left of ["pointerleave", "focusout"]) this.list.addEventListener(left, () => setTimeout(() => this.release(), 50));
    this.draw();
    setInterval(() => this.age(), 5000);
    // Colleagues work on the same alerts.
    setInterval(() => !document.hidden && !this.held() && this.fetch(() => !this.held()).catch(() => {}), AGAIN);
  }

  held() {
    return this.paused || this.list.matches(":hover") || this.list.contains(document.activeElement);
  }

  release() {
    if (!this.held()) {
      this.waiting.splice(0).forEach((alert) => this.take(alert));
    }
    this.say();
  }

  async fetch(wanted = () => true) {
    const came = (this.came = []);
    const { alerts } = await ask(`/v1/alerts?page_size=${KEPT}`);
    const now = JSON.stringify(alerts);
    if (now === this.drawn || came !== this.came || !wanted()) return;
    this.drawn = now;
    this.alerts = alerts;
    // The answer may be older than what was raised or done while it was on its way.
    for (const alert of came) {
      const place = this.place(alert);
      if (place < 0) this.alerts.unshift(alert);
      else if (alert.handling) this.alerts[place] = alert;
    }
    this.alerts = this.alerts.slice(0, KEPT);
    this.draw();
  }

  place(alert) {
    return this.alerts.findIndex((known) => known.alert_id === alert.alert_id);
  }

  note(alert) {
    if (this.came.push(alert) > KEPT) this.came.shift();
  }

  of(customer) {
    return ask(`/v1/alerts?page_size=20&customer_id=${encodeURIComponent(customer)}`).then((told) => told.alerts, () => []);
  }

  add(alert) {
    tell(alert);
    if (this.held()) {
      this.waiting.push(alert);
      this.waiting = this.waiting.slice(-KEPT);
      this.say();
    } else {
      this.take(alert);
    }
  }

  take(alert) {
    if (this.place(alert) >= 0) return;
    this.note(alert);
    if (!this.alerts.length) this.list.replaceChildren();
    this.alerts.unshift(alert);
    this.list.prepend(this.row(alert, true));
    if (this.alerts.length > KEPT) {
      this.alerts.pop();
      this.list.lastElementChild.remove();
    }
  }

  row(alert, fresh = false, trouble = null) {
    const ago = h("time", { datetime: alert.raised_at }, this.ago(alert.raised_at));
    const done = (after, problem) => this.put(after, problem);
    return alertRow(alert, { ago, open: this.open, fresh, acts: actions(alert, done), status: statusOf(alert), said: trouble ?? told(alert) });
  }

  put(alert, trouble) {
    const place = this.place(alert);
    if (place < 0) return;
    this.note(alert);
    this.alerts[place] = alert;
    const row = this.row(alert, false, trouble);
    this.list.children[place].replaceWith(row);
    row.querySelector(".row").focus();
  }

  ago(raised) {
    const seconds = (Date.now() - new Date(raised)) / 1000;
    return seconds < 5 ? "now" : `${duration(seconds)} ago`;
  }

  age() {
    for (const time of this.list.querySelectorAll("time")) time.textContent = this.ago(time.dateTime);
  }

  say() {
    const more = this.waiting.length ? ` (${this.waiting.length} new)` : "";
    find("pause").textContent = this.paused ? `Resume${more}` : `Pause${more}`;
  }

  draw() {
    const none = h("li", {}, empty("No alerts yet. They appear here the moment a customer moves into another band."));
    this.list.replaceChildren(...(this.alerts.length ? this.alerts.map((alert) => this.row(alert)) : [none]));
  }
}
