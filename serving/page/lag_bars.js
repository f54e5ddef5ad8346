// Bar chart of the events not yet committed, by partition.

import { frame } from "./chart.js";
import { count, s } from "./dom.js";

export function lagBars(width, partitions) {
  const step = Math.min(64, width / partitions.length), height = 74, base = 52;
  const max = Math.max(20, ...partitions.map((partition) => partition.lag_events));
  const parts = [s("line", { class: "axis", x1: 0, x2: step * partitions.length, y1: base, y2: base })];
  partitions.forEach((partition, index) => {
    const barHeight = partition.lag_events ? Math.max(2, (partition.lag_events / max) * 40) : 0;
    parts.push(
      s("rect", { "data-band": partition.lag_seconds > 30 ? "critical" : "low", x: index * step + 2, y: base - barHeight, width: Math.max(1, step - 4), height: barHeight, rx: 2 },
        s("title", {}, `Partition ${partition.partition}: ${count(partition.lag_events)} events behind, ${partition.lag_seconds} s`)),
    );
    if (step > 18) parts.push(s("text", { x: index * step + 2, y: base + 15 }, String(partition.partition)));
  });
  return frame(width, height, `Events not yet committed by partition, at most ${count(Math.max(...partitions.map((partition) => partition.lag_events)))}.`, ...parts);
}
