"""Two published constrained two-objective problems as tables for `privynet replay`; standard library only.

    python3 tests/replay_cases.py FOLDER
    privynet replay FOLDER/c2dtlz2.csv --budget FOLDER/c2dtlz2.yaml --evaluations 40 --brief --seed $(seq -s, 0 19)

C2-DTLZ2 (Jain and Deb, 2014; M = 2, r = 0.2) on the grid x1 = i/16, x2, x3 = j/12: 2873 rows, a fifth feasible, exact
hypervolume 0.370153 at (1.1, 1.1). BNH (Binh and Korn, 1997) in steps of 0.1: 1581 rows, exact 5256.93 at (140, 50).
"""

import math
import pathlib
import sys


def c2dtlz2():
    for i in range(17):
        for j in range(13):
            for k in range(13):
                x1, x2, x3 = i / 16, j / 12, k / 12
                radius = 1 + (x2 - 0.5) ** 2 + (x3 - 0.5) ** 2
                f1, f2 = radius * math.cos(math.pi * x1 / 2), radius * math.sin(math.pi * x1 / 2)
                discs = [(1, 0), (0, 1), (0.5**0.5, 0.5**0.5)]
                yield x1, x2, x3, f1, f2, min((f1 - p) ** 2 + (f2 - q) ** 2 - 0.2**2 for p, q in discs)


def bnh():
    for i in range(51):
        for j in range(31):
            x, y = i / 10, j / 10
            f1, f2 = 4 * x * x + 4 * y * y, (x - 5) ** 2 + (y - 5) ** 2
            yield x, y, f1, f2, (x - 5) ** 2 + y**2, (x - 8) ** 2 + (y + 3) ** 2


CASES = {
    "c2dtlz2": (c2dtlz2, ["x1", "x2", "x3", "f1", "f2", "c"], (1.1, 1.1), ["{column: c, max: 0}"]),
    "bnh": (bnh, ["x1", "x2", "f1", "f2", "c1", "c2"], (140, 50), ["{column: c1, max: 25}", "{column: c2, min: 7.7}"]),
}


def main(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, (rows, columns, reference, constraints) in CASES.items():
        lines = [",".join(columns)] + [",".join(map(repr, row)) for row in rows()]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
        objectives = [f"  - {{column: f{k + 1}, goal: minimize, reference: {r}}}" for k, r in enumerate(reference)]
        budget = ["parameters: [" + ", ".join(c for c in columns if c[0] == "x") + "]", "objectives:", *objectives]
        budget += ["constraints:", *(f"  - {constraint}" for constraint in constraints)]
        (folder / f"{name}.yaml").write_text("\n".join(budget) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
