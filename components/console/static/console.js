// Keeps the part of a page that changes fresh. Without it the page is the same, as of when it was asked for.
(() => {
  "use strict";
  // a button that is pressed twice gives one order
  const sent = new Set();
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    if (sent.has(event.target)) event.preventDefault();
    sent.add(event.target);
    setTimeout(() => sent.delete(event.target), 3000);
  });

  const part = document.getElementById("live");
  const sign = document.getElementById("fresh");
  if (!part || !part.dataset.live || !window.EventSource) return;
  const url = part.dataset.live;
  let source = null;

  const say = (text) => { if (sign) sign.textContent = text; };
  const isBusy = () => {
    const chosen = document.getSelection();
    const inside = chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode);
    const typed = part.contains(document.activeElement) &&
      ["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement.tagName);
    return Boolean(inside || typed);
  };
  const places = () => [...part.querySelectorAll("a, button, summary")];
  const show = (html) => {
    if (isBusy()) return;
    const at = places().indexOf(document.activeElement);
    const open = [...part.querySelectorAll("details[open]")].map((each) => each.dataset.key);
    part.innerHTML = html;
    for (const each of part.querySelectorAll("details")) {
      if (open.includes(each.dataset.key)) each.open = true;
    }
    if (at >= 0) places()[at]?.focus({ preventScroll: true });
  };
  const stop = () => { if (source) source.close(); source = null; };
  const start = () => {
    if (source) return;
    source = new EventSource(url);
    source.addEventListener("open", () => say("live"));
    source.addEventListener("part", (event) => { say("live"); show(event.data); });
    source.addEventListener("error", () => {
      say("connecting…");
      if (source && source.readyState === EventSource.CLOSED) { stop(); setTimeout(start, 5000); }
    });
  };
  document.addEventListener("visibilitychange", () => document.hidden ? stop() : start());
  addEventListener("pagehide", stop);
  start();
})();
