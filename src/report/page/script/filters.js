// Which designs are shown: the same choice in the plot and in the table.
const table = document.getElementById("design-table");
const rows = [...table.tBodies[0].rows];
const rowOf = new Map(rows.map((row) => [row.dataset.design, row]));
// An address that names a design opens its view; without a script it leads to this row.
for (const row of rows) row.removeAttribute("id");

const filters = [
  { name: "Split layer", key: "split" },
  { name: "Channels", key: "depth" },
  { name: "Selection", key: "selection" },
  { name: "Known by", key: "known" },
  { name: "Budgets", key: "verdict" },
];
const choice = {};

const applyFilters = () => {
  let shown = 0;
  for (const row of rows) {
    row.hidden = !filters.every(({ key }) => !choice[key] || row.dataset[key] === choice[key]);
    shown += !row.hidden;
  }
  for (const mark of document.querySelectorAll("#pareto [data-design], #pareto [data-of]")) {
    const row = rowOf.get(mark.dataset.design ?? mark.dataset.of);
    mark.classList.toggle("away", row ? row.hidden : Object.values(choice).some(Boolean));
  }
  for (const select of document.querySelectorAll(".filters select")) {
    select.value = choice[select.dataset.key] ?? "";
  }
  for (const count of document.querySelectorAll(".filters output")) count.textContent = `${shown} of ${rows.length} shown`;
  for (const reset of document.querySelectorAll(".filters button")) reset.disabled = shown === rows.length;
  memory.set("filters", choice);
};

const resetFilters = () => {
  for (const { key } of filters) choice[key] = "";
  applyFilters();
};

if (rows.length > 1) {
  for (const bar of document.querySelectorAll(".filters")) {
    for (const { name, key } of filters) {
      const values = [...new Set(rows.map((row) => row.dataset[key]))];
      // A choice of one is none.
      if (values.length < 2) continue;
      // Layers come in the order of the net, everything else by name or number.
      if (key === "split") {
        const place = new Map(rows.map((row) => [row.dataset.split, Number(row.cells[1].dataset.v)]));
        values.sort((a, b) => place.get(a) - place.get(b));
      } else {
        values.sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
      }
      const select = element("select", { "data-key": key });
      select.add(new Option("all", ""));
      for (const value of values) select.add(new Option(value, value));
      select.addEventListener("change", () => {
        choice[key] = select.value;
        applyFilters();
      });
      bar.append(element("label", {}, name, select));
    }
    const reset = element("button", { type: "button" }, "Show all");
    reset.addEventListener("click", resetFilters);
    bar.append(reset, element("output"));
    bar.hidden = false;
  }
  Object.assign(choice, memory.get("filters") ?? {});
  applyFilters();
}
