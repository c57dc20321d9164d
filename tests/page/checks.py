"""What a page must do. Each check is told by its name; a failed one says what was found."""

import json
import time
from urllib.parse import quote


class Checks:
    def __init__(self, browser, page, shots, axe, sections):
        self.browser, self.page, self.shots, self.axe, self.sections = browser, page, shots, axe, sections
        self.failures = 0

    def check(self, name, holds, found=""):
        if not holds:
            self.failures += 1
            print(f"  FAILED: {name}" + (f": {found}" if found != "" else ""))
        else:
            print(f"  ok: {name}")

    def run(self):
        """Runs every check and returns how many failed."""
        print(f"{self.page} ({self.page.stat().st_size / 1e6:.2f} MB)")
        self.check("it is under 3 MB", self.page.stat().st_size < 3_000_000, self.page.stat().st_size)
        address = self.page.as_uri()
        self.browser.appearance("light", 1280)
        # What the browser's own start page asked for is none of this page's doing.
        self.browser.open("about:blank")
        self.browser.log("performance")
        self.browser.open(address)
        self.designs = self.browser.run(
            "return JSON.parse(document.getElementById('study-data').textContent).designs.map((d) => d.id)"
        )
        self.whole_without_network(address)
        if self.designs:
            self.hover()
            self.table()
            self.filters()
            self.follow()
            self.keyboard()
            self.address_of_a_design(address)
        self.appearances(address)
        self.prints()
        self.console(address)
        return self.failures

    def whole_without_network(self, address):
        outside = self.browser.run(
            "return [...document.querySelectorAll('[src], link[href], image')].map((e) => e.getAttribute('src') ??"
            " e.getAttribute('href')).filter((a) => a && !a.startsWith('data:'))"
        )
        self.check("it names nothing to be loaded", outside == [], outside)
        plots = self.browser.run(
            "return [...document.querySelectorAll('.stack > svg')].filter((s) => !s.querySelector(':scope > title')?.textContent).length"
        )
        self.check("every plot has a title", plots == 0, plots)

    def tip(self):
        return self.browser.run("const t = document.getElementById('tip'); return t && !t.hidden ? t.textContent : null")

    def hover(self):
        browser = self.browser
        marks = browser.run("return document.querySelectorAll('#pareto a.mark').length")
        self.check("the trade-off has a mark for every design", marks >= len(self.designs), [marks, len(self.designs)])
        pictured = browser.run(
            "const d = JSON.parse(document.getElementById('study-data').textContent).designs.find((d) => d.exposed);"
            "return d ? d.id : null"
        )
        # Of marks that overlap, the upper one is hit: some of those below can't be pointed at, but the chosen one always.
        hit = (
            "const hit = (m) => { m.scrollIntoView({block: 'center', behavior: 'instant'});"
            " const b = m.querySelector('.hit').getBoundingClientRect();"
            " return document.elementFromPoint(b.left + b.width / 2, b.top + b.height / 2)?.closest('a.mark') === m };"
        )
        chosen = browser.run(
            hit + "const c = JSON.parse(document.getElementById('study-data').textContent).designs.find((d) => d.chosen);"
            "const m = c && [...document.querySelectorAll('#pareto a.mark')].find((m) => m.dataset.design === c.id); return !m || hit(m)"
        )
        self.check("the chosen design can be pointed at", chosen)
        selector = browser.run(
            hit + "const marks = [...document.querySelectorAll('#pareto a.mark')];"
            "const mark = marks.find((m) => m.dataset.design === arguments[0] && hit(m)) ?? marks.find(hit);"
            "mark.classList.add('tested'); return '#pareto a.tested .hit'",
            pictured,
        )
        browser.hover(selector)
        design = browser.run("return document.querySelector('#pareto a.tested').dataset.design")
        text = self.tip() or ""
        self.check("pointing at a mark shows its figures", "PSNR" in text and "dB" in text, text)
        if pictured == design:
            size = browser.run("const i = document.querySelector('#tip img:last-of-type'); return i ? [i.naturalWidth, i.complete] : null")
            self.check("and its most exposed reconstruction", size is not None and size[0] > 0 and size[1], [design, size])
        browser.hover("h1")
        self.check("pointing elsewhere hides them", self.tip() is None, self.tip())

    def table(self):
        browser = self.browser
        values = "return [...document.querySelectorAll('#design-table tbody tr')].map((r) => Number(r.cells[5].dataset.v))"
        for descending in (True, False):
            browser.click("#design-table th:nth-child(6) button")
            shown = browser.run(values)
            self.check(
                f"a click sorts by accuracy, {'descending' if descending else 'ascending'}",
                shown == sorted(shown, reverse=descending) and len(shown) == len(self.designs),
            )
        said = browser.run("return document.querySelector('#design-table th:nth-child(6)').getAttribute('aria-sort')")
        self.check("and says so", said == "ascending", said)

    def filters(self):
        browser = self.browser
        split = browser.run("return document.querySelector('#pareto .filters select')?.options[1]?.value ?? null")
        if split is None:
            return
        key = browser.run("return document.querySelector('#pareto .filters select').dataset.key")
        browser.run(
            "const s = document.querySelector('#pareto .filters select'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('change'))",
            split,
        )
        rows, marks, others = browser.run(
            "const rows = [...document.querySelectorAll('#design-table tbody tr')].filter((r) => !r.hidden);"
            "const marks = [...document.querySelectorAll('#pareto a.mark')].filter((m) => getComputedStyle(m).display !== 'none');"
            "return [rows.length, marks.length, rows.filter((r) => r.dataset[arguments[1]] !== arguments[0]).length]",
            split,
            key,
        )
        self.check("a filter leaves the same designs in plot and table", 0 < rows < len(self.designs) and marks == rows, [rows, marks])
        self.check("and no other", others == 0, others)
        both = browser.run("return [...document.querySelectorAll('.filters select')].filter((s) => s.value === arguments[0]).length", split)
        self.check("both places show the choice", both >= 2, both)
        browser.run("document.querySelector('.filters button').click()")
        rows = browser.run("return [...document.querySelectorAll('#design-table tbody tr')].filter((r) => !r.hidden).length")
        self.check("and one click takes it back", rows == len(self.designs), rows)

    def panel(self):
        return self.browser.run("const p = document.getElementById('design-panel'); return p.open ? p.textContent : null")

    def follow(self):
        browser = self.browser
        design = browser.run("return document.querySelector('#pareto a.tested').dataset.design")
        before = browser.run("document.querySelector('#pareto').scrollIntoView({behavior: 'instant'}); return scrollY")
        browser.click("#pareto a.tested .hit")
        text = self.panel() or ""
        self.check("following a mark opens its design", design in text and "Figures, and where they come from" in text, text[:80])
        self.check("and names it in the address", browser.run("return location.hash") == f"#design/{quote(design, safe='')}")
        after = browser.run("return scrollY")
        self.check("without leaving the plot", abs(after - before) < 700, [before, after])
        browser.press("Escape")
        self.check("Escape closes it", self.panel() is None and browser.run("return location.hash") == "")
        browser.back()
        self.check("and the way back opens it again", design in (self.panel() or ""))
        browser.press("Escape")

    def keyboard(self):
        browser = self.browser
        browser.run("document.querySelector('#pareto .scroll.plot').focus()")
        browser.press("Tab")
        focused = "return document.activeElement.closest('#pareto a.mark')?.dataset.design ?? null"
        first = browser.run(focused)
        self.check("one Tab leads into the plot", first is not None)
        self.check("a mark that is reached shows its figures", "PSNR" in (self.tip() or ""), self.tip())
        reached = {first}
        for _ in range(len(self.designs)):
            browser.press("Left")
        reached.add(browser.run(focused))
        for _ in range(len(self.designs)):
            browser.press("Right")
            reached.add(browser.run(focused))
        self.check("arrow keys reach every design", len(reached) == len(self.designs), [len(reached), len(self.designs)])
        here = browser.run(focused) or "none"
        browser.press("Enter")
        self.check("Enter opens it", here in (self.panel() or ""))
        inside = browser.run("return document.getElementById('design-panel').contains(document.activeElement)")
        self.check("the focus goes with it", inside)
        browser.press("Escape")
        self.check("and comes back", browser.run(focused) == here, browser.run(focused))
        browser.press("Tab")
        self.check("the next Tab leaves the plot", browser.run(focused) is None)

    def address_of_a_design(self, address):
        design = self.designs[-1]
        self.browser.open("about:blank")
        self.browser.open(f"{address}#design/{quote(design, safe='')}")
        self.check("a design's address opens it", design in (self.panel() or ""))
        self.browser.open("about:blank")
        self.browser.open(f"{address}#design/no-such-design%")
        self.check("an address of none opens none", self.panel() is None)

    def appearances(self, address):
        for scheme, width in (("light", 1280), ("dark", 1280), ("light", 400)):
            self.browser.appearance(scheme, width)
            self.browser.open("about:blank")
            self.browser.open(address)
            name = scheme if width > 400 else "narrow"
            overflow = self.browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
            self.check(f"{name}: the page doesn't scroll sideways", overflow <= 0, overflow)
            self.accessible(name)
            self.shoot(name)
            if self.designs:
                self.browser.run("location.hash = '#design/' + encodeURIComponent(arguments[0])", self.designs[0])
                deadline = time.monotonic() + 5
                while self.panel() is None and time.monotonic() < deadline:
                    time.sleep(0.05)
                overflow = self.browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
                self.check(f"{name}: nor with a design open", overflow <= 0, overflow)
                self.accessible(f"{name}, a design open")
                if self.shots:
                    clip = self.browser.run("return {x: scrollX, y: scrollY, width: innerWidth, height: innerHeight}")
                    self.write(f"{name}-design.png", self.browser.screenshot(clip))

    def accessible(self, name):
        if self.axe is None:
            return
        self.browser.run(self.axe + "; return 1")
        found = self.browser.run_async(
            "const done = arguments[arguments.length - 1];"
            "axe.run(document, {resultTypes: ['violations']}).then((r) => done(r.violations.map((v) =>"
            " [v.impact, v.id, v.nodes.length, v.nodes[0].html.slice(0, 160), v.nodes[0].failureSummary])), (e) => done([['critical', String(e)]]))"
        )
        severe = [v for v in found if v[0] in ("serious", "critical")]
        self.check(f"{name}: axe finds nothing serious", severe == [], severe)
        for violation in found:
            if violation not in severe:
                print(f"    axe, {violation[0]}: {violation[1]} ({violation[2]}): {violation[3]}")

    def shoot(self, name):
        if self.shots is None:
            return
        self.write(f"{name}.png", self.browser.screenshot())
        if self.sections:
            boxes = self.browser.run(
                "return [...document.querySelectorAll('main > section')].map((s) => { const b = s.getBoundingClientRect();"
                " return [s.id, {x: 0, y: b.top + scrollY, width: innerWidth, height: b.height}] })"
            )
            for section, clip in boxes:
                self.write(f"{name}-{section}.png", self.browser.screenshot(clip))

    def write(self, name, content):
        folder = self.shots / self.page.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    def prints(self):
        document = self.browser.print()
        self.check("it prints", document.startswith(b"%PDF") and len(document) > 20_000, len(document))
        if self.shots:
            self.write("print.pdf", document)

    def console(self, address):
        errors = [entry["message"] for entry in self.browser.log("browser") if entry["level"] == "SEVERE"]
        self.check("nothing is an error to the console", errors == [], errors)
        requested = set()
        for entry in self.browser.log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                requested.add(message["params"]["request"]["url"].split("#")[0])
        network = [url for url in requested if not url.startswith(("data:", "about:", "blob:")) and url != address]
        self.check("nothing was requested but the page", network == [] and address in requested, network)
