// Keyboard shortcuts: `/` focuses the search, j and k or the arrows move in a list.

import { find } from "./dom.js";

const KEY_STEPS = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 };
const isInput = (element) => /INPUT|TEXTAREA|SELECT/.test(element.tagName);
const rows = (list) => [...list.querySelectorAll(".row")];

function step(event) {
  const focused = document.activeElement;
  const list = focused.closest("[data-list]");
  // Outside of a list the arrows scroll the page.
  if (!list && event.key.startsWith("Arrow")) return;
  const items = rows(list ?? find("calls"));
  if (!items.length) return;
  const index = items.indexOf(focused.closest("li")?.querySelector(".row"));
  event.preventDefault();
  items[Math.max(0, Math.min(items.length - 1, index + KEY_STEPS[event.key]))].focus();
}

export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isInput(document.activeElement) || document.querySelector("dialog[open]")) return;
    if (event.key === "/") {
      event.preventDefault();
      find("customer-id").focus();
    } else if (event.key in KEY_STEPS) step(event);
  });
}
