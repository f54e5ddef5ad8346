// By keyboard: `/` finds a customer, j and k or the arrows move in a list; the browser does the rest.

import { find } from "./dom.js";

const STEPS = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 };
const typing = (element) => /INPUT|TEXTAREA|SELECT/.test(element.tagName);
const rows = (list) => [...list.querySelectorAll(".row")];

function step(event) {
  const here = document.activeElement;
  const list = here.closest("[data-list]");
  // Outside of a list the arrows scroll, as everywhere.
  if (!list && event.key.startsWith("Arrow")) return;
  const all = rows(list ?? find("calls"));
  if (!all.length) return;
  const place = all.indexOf(here.closest("li")?.querySelector(".row"));
  event.preventDefault();
  all[Math.max(0, Math.min(all.length - 1, place + STEPS[event.key]))].focus();
}

export function keyboard() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(document.activeElement) || document.querySelector("dialog[open]")) return;
    if (event.key === "/") {
      event.preventDefault();
      find("customer-id").focus();
    } else if (event.key in STEPS) step(event);
  });
}
