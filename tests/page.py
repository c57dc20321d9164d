#!/usr/bin/env python3
"""Opens report pages in headless Chromium and checks that they work as their readers use them.

    python3 tests/page.py PAGE... [--shots FOLDER] [--require]

Each PAGE is an `index.html` that `privynet report` or `optimize` wrote; it is opened from `file://`. Checked are: hover, filters,
sorting, following a mark, the keyboard, addresses of designs, Escape and the way back; that nothing is written to the console as
an error and nothing is requested from any network; that no width scrolls sideways; that it prints; and, where axe-core can be
fetched from the npm registry, that it finds nothing serious or critical, light and dark. `--shots` leaves screenshots: light, dark
and 400 pixels wide, and the print as PDF.

Python's standard library and Debian's packages `chromium` and `chromium-driver` are all that it needs. Where these aren't
installed it says so and ends well, unless `--require` is given.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "page"))

from axe import axe_source  # noqa: E402
from checks import Checks  # noqa: E402
from webdriver import Browser, programs  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("pages", nargs="+", type=Path, metavar="PAGE")
    parser.add_argument("--shots", type=Path, metavar="FOLDER", help="where screenshots and prints go")
    parser.add_argument("--sections", action="store_true", help="a screenshot of every section, too")
    parser.add_argument("--require", action="store_true", help="fail where Chromium or axe-core is missing")
    arguments = parser.parse_args()

    found = programs()
    if found is None:
        print("skipped: chromium and chromedriver aren't installed (apt-get install chromium chromium-driver)")
        return 1 if arguments.require else 0
    axe = axe_source()
    if axe is None:
        print("skipped: axe-core is neither cached nor to be fetched from the npm registry")
        if arguments.require:
            return 1
    failures = 0
    for page in arguments.pages:
        with Browser(*found) as browser:
            checks = Checks(browser, page.resolve(), arguments.shots, axe, arguments.sections)
            failures += checks.run()
    print("every check passed" if failures == 0 else f"{failures} checks failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
