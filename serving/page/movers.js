// The customers whose risk changed most.

import { duration, empty, h, update } from "./dom.js";
import { moverRow } from "./rows.js";

export function movers(summary, open) {
  const week = duration(7 * summary.day_seconds);
  for (const direction of ["up", "down"]) {
    update(direction, summary.movers[direction].map((score) => [score.customer_id, score.trend_7d, score.churn, score.reasons]), () =>
      summary.movers[direction].length ? summary.movers[direction].map((score) => moverRow(score, open))
        : h("li", {}, empty(`Nobody yet. A change shows once a customer has been known for 7 days (${week} at this pace).`)));
  }
}
