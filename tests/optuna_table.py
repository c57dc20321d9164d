"""Optuna on a table that `privynet tabulate` wrote: lines for `privynet replay --beside`.

    pip install optuna torch scipy pandas pyarrow
    python3 tests/optuna_table.py designs.parquet --limit 18 --evaluations 22 --sampler tpe --seed 0 1 2 > optuna.jsonl

Maximises accuracy with psnr_mean at most the limit, over the split, the binary logarithm of the depth and the selection. A
design that is asked for again costs nothing; one that the table lacks counts as neither measured nor feasible.
"""

import argparse
import json
import math
import warnings

import optuna
import pandas


def search(table, limit, exact, evaluations, sampler, seed):
    rows = {}
    for index, row in table.iterrows():
        # One channel choice may go by several rules' names.
        for selection in row["selection"].split("+"):
            rows[int(row["split_index"]), int(math.log2(row["depth"])), selection] = index
    splits = sorted({key[0] for key in rows})
    depths = sorted({key[1] for key in rows})
    selections = sorted({key[2] for key in rows})
    kept = [all(row[column] <= most for column, most in exact) for _, row in table.iterrows()]
    seen = {}

    def constraints(trial):
        return (trial.user_attrs["excess"],)

    samplers = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, constraints_func=constraints, multivariate=True),
        "gp": lambda: optuna.samplers.GPSampler(seed=seed, constraints_func=constraints),
    }
    study = optuna.create_study(direction="maximize", sampler=samplers[sampler]())
    history, best = [], None
    for _ in range(20 * evaluations):
        if len(history) >= evaluations:
            break
        trial = study.ask()
        split = splits[trial.suggest_int("split", 0, len(splits) - 1)]
        depth = trial.suggest_int("depth", depths[0], depths[-1])
        index = rows.get((split, depth, trial.suggest_categorical("selection", selections)))
        if index is None or not kept[index]:
            trial.set_user_attr("excess", 10.0)
            study.tell(trial, 0.0)
            continue
        row = table.loc[index]
        excess = float(row["psnr_mean"] - limit)
        trial.set_user_attr("excess", excess)
        study.tell(trial, float(row["accuracy"]))
        if index not in seen:
            seen[index] = True
            if excess <= 0 and (best is None or row["accuracy"] > best):
                best = float(row["accuracy"])
            history.append({"row": int(index), "feasible": excess <= 0, "best": best, "hypervolume": None, "reason": sampler})
    feasible = table[[k and p <= limit for k, p in zip(kept, table["psnr_mean"])]]
    optimum = float(feasible["accuracy"].max())
    return {
        "strategy": f"optuna-{sampler}",
        "seed": seed,
        "candidates": sum(kept),
        "evaluations": len(history),
        "value": best,
        "exact": optimum,
        "share": best / optimum if best else None,
        "history": history,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--limit", type=float, required=True, help="largest psnr_mean, dB")
    parser.add_argument("--exact", nargs=2, action="append", default=[], metavar=("COLUMN", "MAX"), help="a bound known beforehand")
    parser.add_argument("--evaluations", type=int, default=22)
    parser.add_argument("--sampler", choices=["tpe", "gp"], default="tpe")
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = pandas.read_parquet(options.table)
    exact = [(column, float(most)) for column, most in options.exact]
    for seed in options.seed:
        print(json.dumps(search(table, options.limit, exact, options.evaluations, options.sampler, seed)))


if __name__ == "__main__":
    main()
