// Marks in plots: what they stand for, when pointed at or reached by keyboard.
const tip = element("div", { id: "tip", "aria-hidden": "true" });
tip.hidden = true;
document.body.append(tip);

/** Whether the pointer asked for what is shown: else its moving on, or the page's moving under it, hides nothing. */
let pointed = false;

const hideTip = () => { tip.hidden = true; };

const showTip = (mark, byPointer) => {
  pointed = byPointer;
  const lines = mark.dataset.text.split("\n");
  tip.replaceChildren(element("strong", {}, lines[0]), ...lines.slice(1).map((line) => element("div", {}, line)));
  const exposed = designs.get(mark.dataset.design)?.exposed;
  if (exposed) tip.append(pairOf(exposed));
  tip.hidden = false;
  const box = mark.querySelector(".hit").getBoundingClientRect();
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  const right = document.documentElement.clientWidth - width - 8;
  const below = box.bottom + 8;
  // Above the mark where there is no room below it.
  const top = below + height > innerHeight && box.top - 8 - height > 0 ? box.top - 8 - height : below;
  tip.style.left = `${Math.max(8, Math.min(box.right + 10, right)) + scrollX}px`;
  tip.style.top = `${top + scrollY}px`;
};

/** Left and right go by the marks' places across, up and down by their height: so every one of them is reached. */
const neighbour = (marks, from, key) => {
  const box = (mark) => mark.querySelector(".hit").getBoundingClientRect();
  const across = key === "ArrowLeft" || key === "ArrowRight";
  const place = (mark) => {
    const { left, width, top, height } = box(mark);
    const [x, y] = [left + width / 2, -(top + height / 2)];
    return across ? [x, y] : [y, x];
  };
  const order = marks.map((mark) => [place(mark), mark]);
  order.sort(([a], [b]) => a[0] - b[0] || a[1] - b[1]);
  const sorted = order.map(([, mark]) => mark);
  const step = key === "ArrowRight" || key === "ArrowUp" ? 1 : -1;
  return sorted[sorted.indexOf(from) + step] ?? from;
};

for (const plot of document.querySelectorAll(".stack > svg")) {
  const all = [...plot.querySelectorAll(".mark")];
  if (all.length === 0) continue;
  for (const mark of all) {
    // Kept as data: the browser's own tooltip would show beside this one.
    const title = mark.querySelector("title");
    mark.dataset.text = title.textContent;
    mark.setAttribute("aria-label", title.textContent.replaceAll("\n", "; "));
    title.remove();
    mark.setAttribute("tabindex", "-1");
  }
  // One stop for the whole plot: from there the arrow keys lead on.
  const chosen = data.designs.find((design) => design.chosen)?.id;
  const setStop = (stop) => {
    for (const mark of all) mark.setAttribute("tabindex", mark === stop ? "0" : "-1");
  };
  setStop(all.find((mark) => chosen && mark.dataset.design === chosen) ?? all[0]);
  const visible = () => all.filter((mark) => !mark.classList.contains("away"));
  const markOf = (event) => event.target.closest?.(".mark");
  // On its parent: an SVG that listens to the focus is a stop for the keyboard itself.
  const stage = plot.parentElement;
  stage.addEventListener("pointerover", (event) => {
    const mark = markOf(event);
    if (mark) showTip(mark, true);
    else if (pointed) hideTip();
  });
  stage.addEventListener("pointerleave", () => {
    if (pointed) hideTip();
  });
  stage.addEventListener("focusin", (event) => {
    const mark = markOf(event);
    if (!mark) return;
    setStop(mark);
    if (mark.matches(":focus-visible")) showTip(mark, false);
  });
  stage.addEventListener("focusout", hideTip);
  stage.addEventListener("keydown", (event) => {
    const mark = markOf(event);
    if (!mark) return;
    if (event.key === "Escape") hideTip();
    if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) return;
    event.preventDefault();
    const marks = visible();
    const next = { Home: marks[0], End: marks.at(-1) }[event.key] ?? neighbour(marks, mark, event.key);
    next?.focus();
  });
}
for (const hint of document.querySelectorAll(".keys")) hint.hidden = false;
