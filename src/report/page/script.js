// Sorting and filtering of the table of designs, and figures of a design when its mark is pointed at. The page is whole without it.
(() => {
  "use strict";
  const table = document.getElementById("design-table");
  const body = table.tBodies[0];
  const rows = [...body.rows];

  const key = (row, column, kind) => {
    const cell = row.cells[column];
    return kind === "number" ? Number(cell.dataset.v) : cell.textContent;
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const kind = head.dataset.kind;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent || "★";
    if (!head.textContent) button.setAttribute("aria-label", "Chosen and Pareto front");
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      // Figures are wanted largest first, names from A to Z.
      const now = head.getAttribute("aria-sort");
      const descending = now ? now === "ascending" : kind === "number";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const sign = descending ? -1 : 1;
      rows.sort((a, b) => {
        const [x, y] = [key(a, column, kind), key(b, column, kind)];
        return sign * (kind === "number" ? x - y : x.localeCompare(y));
      });
      body.append(...rows);
    });
  });

  const filters = document.getElementById("filters");
  const count = document.createElement("output");
  const selects = [];
  const apply = () => {
    let shown = 0;
    for (const row of rows) {
      const visible = selects.every(({ select, value }) => !select.value || value(row) === select.value);
      row.hidden = !visible;
      shown += visible;
    }
    count.textContent = `${shown} of ${rows.length} shown`;
  };
  const addFilter = (name, value, labels = {}) => {
    const select = document.createElement("select");
    select.add(new Option("all", ""));
    const values = [...new Set(rows.map(value))];
    values.sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    for (const v of values) select.add(new Option(labels[v] ?? v, v));
    select.addEventListener("change", apply);
    const label = document.createElement("label");
    label.append(name, select);
    filters.append(label);
    selects.push({ select, value });
  };
  if (rows.length > 1) {
    addFilter("Split layer", (row) => row.dataset.split);
    addFilter("Channels", (row) => row.dataset.depth);
    addFilter("Selection", (row) => row.dataset.selection);
    addFilter("Known by", (row) => (row.classList.contains("measured") ? "measured" : "predicted"),
      { measured: "measurement", predicted: "prediction" });
    addFilter("Within budget", (row) => row.dataset.verdict, { maybe: "uncertain" });
    filters.append(count);
    filters.hidden = false;
    apply();
  }

  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  for (const spots of document.querySelectorAll("svg.hot")) {
    for (const spot of spots.children) {
      // Kept as data: the browser's own tooltip would show beside this one.
      spot.dataset.text = spot.textContent;
      spot.replaceChildren();
    }
    spots.addEventListener("pointerover", (event) => {
      const text = event.target.dataset.text;
      tip.hidden = !text;
      if (!text) return;
      tip.textContent = text;
      const box = event.target.getBoundingClientRect();
      const width = tip.offsetWidth;
      const room = document.documentElement.clientWidth - width - 8;
      tip.style.left = `${Math.max(8, Math.min(box.right + 10, room)) + scrollX}px`;
      tip.style.top = `${box.bottom + 8 + scrollY}px`;
    });
    spots.addEventListener("pointerout", () => { tip.hidden = true; });
    spots.addEventListener("click", (event) => {
      const row = rows.find((r) => r.dataset.design === event.target.dataset.design);
      if (!row) return;
      for (const { select } of selects) select.value = "";
      apply();
      for (const other of rows) other.classList.toggle("pointed", other === row);
      row.scrollIntoView({ block: "center" });
    });
  }
})();
