// Runs before anything is drawn, so that nobody who chose dark sees a white page first. base/theme.js takes over from here.

(function () {
  let chosen = "system";
  try {
    chosen = JSON.parse(localStorage.getItem("redial.theme")) ?? chosen;
  } catch {
    // A browser that keeps nothing is set as its machine is.
  }
  const dark = chosen === "system" ? matchMedia("(prefers-color-scheme: dark)").matches : chosen === "dark";
  const root = document.documentElement;
  root.dataset.theme = dark ? "dark" : "light";
  // Until the style sheets are there.
  root.style.colorScheme = root.dataset.theme;
})();
