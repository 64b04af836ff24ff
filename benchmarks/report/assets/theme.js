// Before anything is drawn: the theme that the reader chose last, if any. The rest is in report.js.
(function () {
  "use strict";
  try {
    const chosen = window.localStorage.getItem("bench-theme");
    if (chosen === "light" || chosen === "dark") {
      document.documentElement.dataset.theme = chosen;
    }
  } catch (error) {
    // Storage may be forbidden for files; the system's theme holds then.
  }
})();
