// Whose risk moved most.

import { duration, empty, h, update } from "./dom.js";
import { moverRow } from "./rows.js";

export function movers(summary, open) {
  const wait = duration(7 * summary.day_seconds);
  for (const way of ["up", "down"]) {
    update(way, summary.movers[way].map((score) => [score.customer_id, score.trend_7d, score.churn, score.reasons]), () =>
      summary.movers[way].length ? summary.movers[way].map((score) => moverRow(score, open))
        : h("li", {}, empty(`Nobody yet. A change shows once a customer has been known for 7 days (${wait} at this pace).`)));
  }
}
