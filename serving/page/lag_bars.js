// Events in work by partition.

import { frame } from "./chart.js";
import { count, s } from "./dom.js";

export function lagBars(width, partitions) {
  const step = Math.min(64, width / partitions.length), height = 74, base = 52;
  const most = Math.max(20, ...partitions.map((one) => one.lag_events));
  const parts = [s("line", { class: "axis", x1: 0, x2: step * partitions.length, y1: base, y2: base })];
  partitions.forEach((one, place) => {
    const tall = one.lag_events ? Math.max(2, (one.lag_events / most) * 40) : 0;
    parts.push(
      s("rect", { "data-band": one.lag_seconds > 30 ? "critical" : "low", x: place * step + 2, y: base - tall, width: Math.max(1, step - 4), height: tall, rx: 2 },
        s("title", {}, `Partition ${one.partition}: ${count(one.lag_events)} events behind, ${one.lag_seconds} s`)),
    );
    if (step > 18) parts.push(s("text", { x: place * step + 2, y: base + 15 }, String(one.partition)));
  });
  return frame(width, height, `Events not yet committed by partition, at most ${count(Math.max(...partitions.map((one) => one.lag_events)))}.`, ...parts);
}
