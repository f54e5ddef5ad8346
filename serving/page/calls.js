// Who to call first: the customers at risk, sorted and filtered by the API.

import { empty, find, h, update } from "./dom.js";
import { request } from "./net.js";
import { callRow } from "./rows.js";

const PAGE_SIZE = 10;
const HINTS = {
  expected_gain: "Where an offer is expected to bring most after its cost.",
  value_at_risk: "Where most money is at stake: chance of leaving × expected spend.",
  churn: "The likeliest to leave within the horizon, whatever they spend.",
};

export class Calls {
  constructor(open) {
    this.open = open;
    this.sort = "expected_gain";
    this.list = find("calls");
    this.buttons = [...document.querySelectorAll("[data-sort]")];
    for (const button of this.buttons) button.addEventListener("click", () => this.setSort(button.dataset.sort));
    for (const id of ["calls-band", "calls-country"]) find(id).addEventListener("change", () => this.refresh(true).catch(() => {}));
    this.drawSort();
  }

  setSort(sort) {
    this.sort = sort;
    this.drawSort();
    this.refresh(true).catch(() => {});
  }

  drawSort() {
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.dataset.sort === this.sort));
    find("calls-hint").textContent = HINTS[this.sort];
  }

  setCountries(countries) {
    const select = find("calls-country"), selected = select.value;
    update("calls-country", countries, () =>
      [h("option", { value: "" }, "All countries"), ...countries.map((country) => h("option", {}, country))]);
    select.value = selected;
  }

  async refresh(force = false) {
    // Rows under the pointer or the focus must not move, unless the person chose another order or filter.
    if (!force && (this.list.matches(":hover") || this.list.contains(document.activeElement))) return;
    const query = new URLSearchParams({ sort: this.sort, page_size: PAGE_SIZE });
    if (find("calls-band").value) query.set("band", find("calls-band").value);
    if (find("calls-country").value) query.set("country", find("calls-country").value);
    this.latestQuery = query;
    const { customers } = await request(`/v1/customers/at-risk?${query}`);
    if (this.latestQuery !== query) return;
    const filtered = query.has("band") || query.has("country");
    update("calls", [customers, filtered], () => (customers.length ? customers.map((score) => callRow(score, this.open))
      : h("li", {}, empty(filtered ? "Nobody matches this band and country at the moment." : "Waiting for the first scores."))));
  }
}
