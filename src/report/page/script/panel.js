// A design's own view, beside the page: opened by a mark, by a row of the table, or by the address.
const panel = element("dialog", { id: "design-panel", "aria-labelledby": "design-title" });
document.body.append(panel);
let returnTo = null;

const section = (title, ...content) => [element("h3", {}, title), ...content];

const figuresOf = (design) => {
  const head = element("tr", {}, element("th", { scope: "col" }, "Source"),
    ...data.metrics.map(({ name, unit }) => element("th", { scope: "col" }, unit ? `${name} (${unit})` : name)));
  const body = design.figures.map(([name, detail, values]) => element("tr", {},
    element("th", { scope: "row" }, data.names[name], element("small", {}, data.names[detail])),
    ...values.map((value, metric) => element("td", {}, figure(metric, value)))));
  const inner = element("table", {}, element("caption", {}, "Figures, the strongest source last; ± one standard error"),
    element("thead", {}, head), element("tbody", {}, ...body));
  return element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Figures of the design" }, inner);
};

const facts = (pairs) => element("dl", { class: "facts" },
  ...pairs.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));

const verdictOf = (design) => {
  const meaning = {
    verified: "Verified: attacks trained anew on fresh seeds stay within every budget.",
    refuted: "Refuted: it was put to verification and failed.",
    measured: "Measured by the search's short trainings alone: they rank designs and are no claim.",
    screened: "Screened at a low fidelity: no claim.",
    predicted: "Predicted by the models alone: nothing of it was measured.",
  }[design.known];
  const lines = (design.remarks ?? []).map((remark) => element("li", {}, remark));
  return [element("p", { class: "verdict" }, element("span", { "aria-hidden": "true" }, `${design.sign} `), meaning),
    ...(lines.length ? [element("ul", {}, ...lines)] : [])];
};

const channelsOf = (design) => {
  if (design.mixed) {
    return [element("p", {}, `${design.depth} linear combinations of all the layer's channels, folded into its weights.`)];
  }
  return [element("p", { class: "channels" }, design.channels.join(", "))];
};

const picturesOf = (design) => {
  const sections = (design.pictures ?? []).flatMap(([title, caption, pairs]) => (pairs.length ? [
    element("p", {}, element("strong", {}, title), ` ${caption}`),
    element("div", { class: "pairs" }, ...pairs.map(pairOf)),
  ] : []));
  if (sections.length) return sections;
  const none = design.pictures ? "This page has no room for its pictures: they are in the study's folder."
    : "The study kept none of this design.";
  return [element("p", {}, none)];
};

const fill = (design) => {
  const close = element("button", { type: "button", class: "close", "aria-label": "Close this design" }, "✕");
  close.addEventListener("click", () => leave());
  const kept = design.of ? `${design.depth} of ${design.of} channels` : `${design.depth} channels`;
  const title = element("h2", { id: "design-title", tabindex: "-1" },
    `${design.split}, ${design.mixed ? `${design.depth} mixed from ${design.of}` : kept}`);
  const badges = [design.chosen && "★ chosen", design.pareto && "◆ on the Pareto front"].filter(Boolean);
  const how = [["Selection", design.selection], ["Budgets", design.budgets]];
  if (design.probability) how.push(["P(within budget), by the models", design.probability]);
  if (badges.length) how.push(["In this study", badges.join(", ")]);
  const why = design.reason === undefined ? []
    : section("Why it was measured", element("p", {},
      `${design.evaluation ? `Evaluation ${design.evaluation}: ` : ""}${data.names[design.reason]}.`));
  panel.replaceChildren(
    element("div", { class: "head" }, title, close),
    ...verdictOf(design), facts(how),
    ...section("Reconstructions", ...picturesOf(design)),
    ...section("Figures, and where they come from", figuresOf(design)),
    ...section("Cost on the device", facts(design.cost.map(([name, text]) => [data.names[name], text]))),
    ...section(design.mixed ? "Channels" : "Channels kept", ...channelsOf(design)),
    ...why,
    element("p", { class: "files" }, "Link to this design: ", element("a", { href: anchorOf(design.id) }, design.id)),
  );
  panel.scrollTop = 0;
};

const point = (id) => {
  for (const row of rows) row.classList.toggle("pointed", row.dataset.design === id);
  for (const mark of document.querySelectorAll("a.mark")) mark.classList.toggle("current", mark.dataset.design === id);
};

/** Shows what the address names; `focus` is false where nobody asked for it just now. */
const follow = (focus = true) => {
  const design = designOf(location.hash);
  point(design?.id);
  document.body.classList.toggle("with-panel", Boolean(design));
  if (!design) {
    if (panel.open) panel.close();
    return;
  }
  fill(design);
  if (!panel.open) panel.show();
  hideTip();
  if (focus) document.getElementById("design-title").focus({ preventScroll: true });
};

/** Closes the view and goes back to where it was opened. */
const leave = () => {
  history.pushState(null, "", location.href.split("#")[0]);
  follow();
  returnTo?.focus();
};

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='#design/']");
  const anchor = link?.getAttribute("href");
  if (!anchor || !designOf(anchor) || event.ctrlKey || event.metaKey || event.shiftKey) return;
  // The address is set without the browser's jump to the row, so that the plot stays in sight.
  event.preventDefault();
  if (!panel.contains(link)) returnTo = link;
  if (location.hash !== anchor) history.pushState(null, "", anchor);
  follow();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && panel.open) leave();
});
addEventListener("popstate", () => follow());
addEventListener("hashchange", () => follow());
const before = memory.get("before reload");
memory.set("before reload", null);
follow(before === null);
if (before) panel.scrollTop = before.panel;
