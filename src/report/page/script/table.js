// Sorting of the table of designs.
const heads = [...table.tHead.rows[0].cells];

const sortBy = (column, descending) => {
  const number = heads[column].dataset.kind === "number";
  const key = (row) => (number ? Number(row.cells[column].dataset.v) : row.cells[column].textContent);
  const sign = descending ? -1 : 1;
  rows.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    return sign * (number ? x - y : x.localeCompare(y, undefined, { numeric: true }));
  });
  for (const head of heads) head.removeAttribute("aria-sort");
  heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
  table.tBodies[0].append(...rows);
  memory.set("sort", [column, descending]);
};

heads.forEach((head, column) => {
  const button = element("button", { type: "button" }, head.textContent || "★");
  if (!head.textContent) button.setAttribute("aria-label", "Chosen and Pareto front");
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    // Figures are wanted largest first, names from A to Z.
    const now = head.getAttribute("aria-sort");
    sortBy(column, now ? now === "ascending" : head.dataset.kind === "number");
  });
});

const sorted = memory.get("sort");
if (sorted && heads[sorted[0]]) sortBy(...sorted);
