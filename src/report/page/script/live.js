// A study that is running: the page looks again now and then, and stays where it was read. The concluded page does no such thing.
const live = document.getElementById("live");
if (live) {
  const written = Number(live.dataset.written) * 1000;
  const again = Number(live.dataset.again) * 1000;
  const when = live.querySelector(".when");
  // An address of a section leads to its own place.
  if (before && (!location.hash || designOf(location.hash))) scrollTo({ top: before.page, behavior: "instant" });
  let paused = memory.get("paused") === true;
  const button = element("button", { type: "button" });
  const label = () => { button.textContent = paused ? "Go on updating" : "Pause updates"; };
  button.addEventListener("click", () => {
    paused = !paused;
    memory.set("paused", paused);
    label();
  });
  label();
  live.querySelector("p").append(" ", button);
  const loaded = Date.now();
  setInterval(() => {
    const age = Math.max(0, Math.round((Date.now() - written) / 1000));
    const stale = age > 600 ? "; no news for long: it may have been stopped" : "";
    when.textContent = `Written ${age < 120 ? `${age} s` : `${Math.round(age / 60)} min`} ago${stale}.`;
    if (paused || Date.now() - loaded < again || document.hidden) return;
    // Not while something is being chosen or copied.
    if (document.activeElement?.tagName === "SELECT" || !getSelection().isCollapsed) return;
    memory.set("before reload", { page: scrollY, panel: panel.scrollTop });
    location.reload();
  }, 1000);
}
