// Everything here adds to a page that is complete without it: the theme's button, sorting, filtering.
(function () {
  "use strict";

  const root = document.documentElement;
  const status = document.getElementById("status");

  // ---- theme

  const button = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");

  function dark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  }

  function label() {
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", button.textContent + " theme");
  }

  button.addEventListener("click", function () {
    root.dataset.theme = dark() ? "light" : "dark";
    try {
      window.localStorage.setItem("bench-theme", root.dataset.theme);
    } catch (error) {
      // Not remembered then; see theme.js.
    }
    label();
  });
  system.addEventListener("change", label);
  button.hidden = false;
  label();

  // ---- sorting

  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  function key(row, column, numeric) {
    const cell = row.cells[column];
    if (cell.dataset.sort === "") {
      return null;
    }
    if (numeric) {
      return cell.dataset.sort === undefined ? null : Number(cell.dataset.sort);
    }
    return cell.dataset.sort !== undefined ? cell.dataset.sort : cell.querySelector(".value").textContent.trim();
  }

  function sort(table, column, direction) {
    const body = table.tBodies[0];
    const numeric = table.tHead.rows[0].cells[column].classList.contains("number");
    const sign = direction === "ascending" ? 1 : -1;
    const keyed = table.originalRows.map((row) => [key(row, column, numeric), row]);
    if (direction !== "none") {
      keyed.sort(function (one, other) {
        if (one[0] === null || other[0] === null) {
          return (one[0] === null) - (other[0] === null); // what is missing comes last, both ways
        }
        return sign * (numeric ? one[0] - other[0] : collator.compare(one[0], other[0]));
      });
    }
    body.append(...keyed.map((pair) => pair[1]));
  }

  function next(direction, numeric) {
    const order = numeric ? ["none", "descending", "ascending"] : ["none", "ascending", "descending"];
    return order[(order.indexOf(direction) + 1) % 3];
  }

  function prepare(table) {
    table.originalRows = Array.from(table.tBodies[0].rows);
    const headings = Array.from(table.tHead.rows[0].cells);
    headings.forEach(function (heading, column) {
      const name = heading.textContent;
      const control = document.createElement("button");
      control.type = "button";
      control.textContent = name;
      heading.replaceChildren(control);
      heading.setAttribute("aria-sort", "none");
      control.addEventListener("click", function () {
        const direction = next(heading.getAttribute("aria-sort"), heading.classList.contains("number"));
        headings.forEach((each) => each.setAttribute("aria-sort", "none"));
        heading.setAttribute("aria-sort", direction);
        sort(table, column, direction);
        status.textContent = direction === "none" ? "Original order" : "Sorted by " + name + ", " + direction;
      });
    });
  }

  // ---- filtering of long tables

  function filterable(table) {
    const box = document.createElement("input");
    box.type = "search";
    box.className = "filter";
    box.placeholder = "Filter " + table.tBodies[0].rows.length + " rows";
    box.setAttribute("aria-label", "Filter the rows");
    box.addEventListener("input", function () {
      const wanted = box.value.trim().toLowerCase();
      let left = 0;
      table.originalRows.forEach(function (row) {
        row.hidden = !row.textContent.toLowerCase().includes(wanted);
        left += row.hidden ? 0 : 1;
      });
      status.textContent = left + " rows";
    });
    table.closest(".scroll").before(box);
  }

  document.querySelectorAll("table[data-sortable]").forEach(function (table) {
    prepare(table);
    if (table.originalRows.length > 20) {
      filterable(table);
    }
  });
})();
