// The list of alerts: newest first, bounded; it does not move while it is paused, hovered or focused.

import { announce } from "./announcer.js";
import { duration, empty, find, h } from "./dom.js";
import { actions, handlingText, statusOf } from "./handling.js";
import { request } from "./net.js";
import { queryOf } from "./route.js";
import { alertRow } from "./rows.js";

const MAX_ALERTS = 60;
const REFETCH_MS = 15000;

export class Alerts {
  constructor(open) {
    this.open = open;
    this.list = find("alerts");
    this.alerts = [];
    this.pending = [];
    this.received = [];
    this.paused = false;
    find("pause").addEventListener("click", () => {
      this.paused = !this.paused;
      find("pause").setAttribute("aria-pressed", String(this.paused));
      this.release();
    });
    // A row under the pointer or the focus must not move.
    for (const event of ["pointerleave", "focusout"]) this.list.addEventListener(event, () => setTimeout(() => this.release(), 50));
    this.draw();
    setInterval(() => this.updateAges(), 5000);
    // Other people handle the same alerts: fetch what they did.
    setInterval(() => !document.hidden && !this.isHeld() && this.fetch(() => !this.isHeld()).catch(() => {}), REFETCH_MS);
  }

  isHeld() {
    return this.paused || this.list.matches(":hover") || this.list.contains(document.activeElement);
  }

  release() {
    if (!this.isHeld()) {
      this.pending.splice(0).forEach((alert) => this.insert(alert));
    }
    this.drawPauseButton();
  }

  async fetch(stillWanted = () => true) {
    const received = (this.received = []);
    const { alerts } = await request(`/v1/alerts?page_size=${MAX_ALERTS}`);
    const snapshot = JSON.stringify(alerts);
    if (snapshot === this.drawn || received !== this.received || !stillWanted()) return;
    this.drawn = snapshot;
    this.alerts = alerts;
    // The response may be older than alerts raised or handled while it was in flight.
    for (const alert of received) {
      const index = this.indexOf(alert);
      if (index < 0) this.alerts.unshift(alert);
      else if (alert.handling) this.alerts[index] = alert;
    }
    this.alerts = this.alerts.slice(0, MAX_ALERTS);
    this.draw();
  }

  indexOf(alert) {
    return this.alerts.findIndex((known) => known.alert_id === alert.alert_id);
  }

  recordReceived(alert) {
    if (this.received.push(alert) > MAX_ALERTS) this.received.shift();
  }

  ofCustomer(customer) {
    return request(`/v1/alerts?page_size=20&${queryOf(customer)}`).then((page) => page.alerts, () => []);
  }

  add(alert) {
    announce(alert);
    if (this.isHeld()) {
      this.pending.push(alert);
      this.pending = this.pending.slice(-MAX_ALERTS);
      this.drawPauseButton();
    } else {
      this.insert(alert);
    }
  }

  insert(alert) {
    if (this.indexOf(alert) >= 0) return;
    this.recordReceived(alert);
    if (!this.alerts.length) this.list.replaceChildren();
    this.alerts.unshift(alert);
    this.list.prepend(this.row(alert, true));
    if (this.alerts.length > MAX_ALERTS) {
      this.alerts.pop();
      this.list.lastElementChild.remove();
    }
  }

  row(alert, fresh = false, error = null) {
    const ago = h("time", { datetime: alert.raised_at }, this.ago(alert.raised_at));
    const onDone = (changed, message) => this.replace(changed, message);
    return alertRow(alert, { ago, open: this.open, fresh, buttons: actions(alert, onDone), status: statusOf(alert), note: error ?? handlingText(alert) });
  }

  replace(alert, error) {
    const index = this.indexOf(alert);
    if (index < 0) return;
    this.recordReceived(alert);
    this.alerts[index] = alert;
    const row = this.row(alert, false, error);
    this.list.children[index].replaceWith(row);
    row.querySelector(".row").focus();
  }

  ago(raised) {
    const seconds = (Date.now() - new Date(raised)) / 1000;
    return seconds < 5 ? "now" : `${duration(seconds)} ago`;
  }

  updateAges() {
    for (const time of this.list.querySelectorAll("time")) time.textContent = this.ago(time.dateTime);
  }

  drawPauseButton() {
    const more = this.pending.length ? ` (${this.pending.length} new)` : "";
    find("pause").textContent = this.paused ? `Resume${more}` : `Pause${more}`;
  }

  draw() {
    const none = h("li", {}, empty("No alerts yet. They appear here the moment a customer moves into another band."));
    this.list.replaceChildren(...(this.alerts.length ? this.alerts.map((alert) => this.row(alert)) : [none]));
  }
}
