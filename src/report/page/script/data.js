// What the study knows of its designs, and small helpers that the other parts share. The page is whole without any script.
const data = JSON.parse(document.getElementById("study-data").textContent);
const designs = new Map(data.designs.map((design) => [design.id, design]));

/** An element with attributes and children; text stays text, whatever it holds. */
const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

const anchorOf = (id) => `#design/${encodeURIComponent(id)}`;

/** The design that the address names, if it names one that the page knows. */
const designOf = (hash) => {
  if (!hash.startsWith("#design/")) return undefined;
  try {
    return designs.get(decodeURIComponent(hash.slice("#design/".length)));
  } catch {
    return undefined; // no valid encoding: no design
  }
};

/** `57.1 ± 0.7` with the digits of the metric, and a true minus sign. */
const figure = (metric, estimate) => {
  if (!estimate) return "–";
  const { decimals } = data.metrics[metric];
  return estimate.map((value) => value.toFixed(decimals).replace("-", "−")).join(" ± ");
};

/** Original and reconstruction side by side, with what is said of them. */
const pairOf = ([label, figures, original, reconstruction]) => {
  const picture = (index, what) => element("img", { src: data.pictures[index], alt: `${label}: ${what}` });
  return element("figure", { class: "pair" },
    picture(original, "original"), " ", picture(reconstruction, "reconstruction"),
    element("figcaption", {}, element("strong", {}, label), element("br"), figures));
};

/** What is kept over a reload of this page, where the browser allows that. */
const memory = {
  key: (name) => `privynet ${document.title} ${name}`,
  get(name) {
    try {
      return JSON.parse(sessionStorage.getItem(this.key(name)));
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      sessionStorage.setItem(this.key(name), JSON.stringify(value));
    } catch {
      // Nothing is kept then.
    }
  },
};
