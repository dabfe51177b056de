"use strict";
// The theme follows the system until its button is pressed; the choice then holds for all pages of a site in this tab.
(() => {
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  function kept(...choice) {
    // A browser may forbid storage; the button then changes this page alone.
    try {
      if (choice.length) sessionStorage.setItem("ltrp-bench-theme", choice[0]);
      return sessionStorage.getItem("ltrp-bench-theme");
    } catch {
      return null;
    }
  }
  function show(theme) {
    root.dataset.theme = theme;
    const button = document.getElementById("theme");
    button?.replaceChildren(theme === "dark" ? "Light" : "Dark");
    button?.setAttribute("aria-pressed", String(theme === "dark"));
  }
  show(kept() ?? system);
  document.addEventListener("DOMContentLoaded", () => {
    show(root.dataset.theme);
    document.getElementById("theme").addEventListener("click", () => {
      const next = root.dataset.theme === "dark" ? "light" : "dark";
      kept(next);
      show(next);
      document.dispatchEvent(new Event("themechange"));
    });
  });
})();
