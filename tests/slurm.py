#!/usr/bin/env python3
"""A study on a real Slurm cluster of three nodes on this machine, disturbed in every way, beside the same study on this machine alone.

    python3 tests/slurm.py PROGRAM [--budget FILE] [--undisturbed] [--require]

PROGRAM is the `privynet` to test. Without `--budget` the study is a tiny one. Disturbances: a node loses its power, a task is
requeued, one is cancelled, the controller is killed and comes back, the driver is killed and started again, interrupted, and detached.
However it goes, the study must end with the same figures and the same answer, and nothing may be in its journal twice.

Needs root and Debian's packages `slurm-wlm` and `munge`; where they are missing it says so and ends well, unless `--require` is given.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "slurm"))

from cluster import INT, KILL, Cluster, missing, send  # noqa: E402

TINY = Path(__file__).parent / "page" / "tiny_study.py"
# Verified, infeasible, unverified: any answer is one, as long as it is the same.
CONCLUDED = (0, 3, 4)
EXECUTOR = "executor:\n  slurm: {cpus: 1, poll_seconds: 1, resubmissions: 9}\n"


class Study:
    """One study: its budget, its folder, and the driver that runs it."""

    def __init__(self, program, budget, folder, environment):
        self.program, self.budget, self.folder, self.environment = program, budget, Path(folder), environment
        self.driver = None

    def start(self, *flags):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = open(self.folder / "log", "ab")
        command = [self.program, "optimize", self.budget, "--results", self.folder / "results", "--reports",
                   self.folder / "reports", *flags]
        self.driver = subprocess.Popen(command, env=self.environment, stdout=self.log, stderr=self.log)

    def end(self, seconds=1800):
        code = self.driver.wait(timeout=seconds)
        return code

    def expect(self, *codes):
        """Waits for the driver's end, which must be one of these."""
        code = self.end()
        if code not in codes:
            print(self.said(), file=sys.stderr)
            raise SystemExit(f"the driver ended with {code}, not with {' or '.join(map(str, codes))}")

    def said(self):
        return (self.folder / "log").read_text()

    def directory(self):
        return next(path.parent for path in (self.folder / "results").glob("*/study.json"))

    def journal(self):
        """Every evaluation of the journal."""
        lines = (self.directory() / "journal.jsonl").read_text().splitlines()[1:]
        return [line["data"]["evaluation"] for line in map(json.loads, lines) if "evaluation" in line["data"]]

    def measured(self):
        try:
            return len(self.journal())
        except (StopIteration, FileNotFoundError, json.JSONDecodeError):
            return 0

    def figures(self):
        """Figures by measurement; what was measured twice is an error."""
        found = {}
        for evaluation in self.journal():
            if "failed" in evaluation["outcome"]:
                raise SystemExit(f"failed: {evaluation['outcome']}")
            key = (evaluation["design"], evaluation["fidelity"], evaluation["seed"])
            if key in found:
                raise SystemExit(f"{key} is in the journal twice")
            found[key] = {row["metric"]: row["value"] for row in evaluation["outcome"]["done"]}
        return found

    def answer(self):
        record = json.loads((self.directory() / "blobs" / "conclusion.json").read_text())
        del record["provenance"]
        return timeless(record)

    def ask(self, command, *arguments):
        """What a command prints as JSON, its last line."""
        command = [self.program, command, *arguments, "--json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return json.loads(done.stdout.splitlines()[-1])

    def status(self):
        return self.ask("status", self.directory())


def timeless(value):
    """A record without how long its measurements took."""
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if key not in ("seconds", "sum")}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


def difference(a, b, path=""):
    """Where two records differ first."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return next((found for key in a if (found := difference(a[key], b[key], f"{path}.{key}"))), None)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return next((found for i in range(len(a)) if (found := difference(a[i], b[i], f"{path}[{i}]"))), None)
    return None if a == b else f"{path}: {a!r} and {b!r}"


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def disturb(cluster, study):
    """Runs a study to its end through everything that happens to long jobs."""
    study.start()
    cluster.wait("a running task", cluster.running, 300)
    node = cluster.running()[0][4]
    cluster.crash_node(node)
    say(f"{node} lost its power")

    cluster.wait("a running task elsewhere", lambda: [row for row in cluster.running() if row[4] != node], 120)
    job = [row for row in cluster.running() if row[4] != node][0][0]
    cluster.run("scontrol", "requeue", job)
    say(f"job {job} requeued")

    before = study.measured()
    cluster.wait("a task", cluster.tasks, 120)
    job = cluster.tasks()[-1][0]
    cluster.run("scancel", job)
    say(f"job {job} cancelled")
    cluster.start_node(node)

    cluster.wait("another measurement", lambda: study.measured() > before, 300)
    send(study.driver, KILL)
    study.expect(-KILL)
    say(f"driver killed with {study.measured()} measurements in the journal and {len(cluster.tasks())} tasks out")
    study.start()

    cluster.wait("a task", cluster.tasks, 300)
    cluster.kill_controller()
    say("controller killed")
    time.sleep(3)
    cluster.start_controller()
    say("controller back")

    last = study.measured()
    cluster.wait("another measurement", lambda: study.measured() > last, 600)
    cluster.kill_controller()
    send(study.driver, KILL)
    study.expect(-KILL)
    say("controller and driver killed at once")
    cluster.start_controller()
    study.start()
    study.expect(*CONCLUDED)
    say(f"ended with {study.measured()} measurements")
    # A controller that was killed may count a task as running that ended meanwhile, until its node tells it otherwise.
    if left := cluster.tasks():
        say(f"the controller still counts {len(left)} tasks: {left}")
    cluster.wait("the controller to learn what ended", lambda: not cluster.tasks(), 600)


def rehearse(study, wrong):
    """What `check` hears from the cluster, of this budget and of one with a partition that isn't there."""
    if (executor := study.ask("check", study.budget)["executor"]) != {"where": "slurm", "accepted": True, "said": None}:
        raise SystemExit(f"check of a budget that the cluster takes: {executor}")
    text = study.budget.read_text()
    wrong.write_text(text.replace("slurm: {", "slurm: {partition: nowhere, "))
    try:
        executor = study.ask("check", wrong)["executor"]
    finally:
        wrong.unlink()
    if executor["accepted"] is not False or "partition" not in executor["said"]:
        raise SystemExit(f"check of a partition that isn't there: {executor}")
    say(f"check: accepted, and with another partition refused: {executor['said']}")


def interrupt(cluster, study):
    """Interrupts a study, detaches it, and picks it up."""
    earlier = len(cluster.tasks("completed"))
    study.start()
    cluster.wait("a running task", cluster.running, 300)
    began = time.monotonic()
    send(study.driver, INT)
    study.expect(130)
    took = time.monotonic() - began
    if took > 10:
        raise SystemExit(f"the driver took {took:.1f} s to end")
    say(f"interrupted in {took:.1f} s")
    try:
        cluster.wait("its jobs to be cancelled", lambda: not cluster.tasks(), 30)
    except TimeoutError as error:
        raise SystemExit(f"{error}: {cluster.tasks()}\n{study.said()}") from None

    study.start("--detach")
    cluster.wait("a running task", cluster.running, 300)
    out = {row[0] for row in cluster.tasks()}
    send(study.driver, INT)
    study.expect(130)
    status = study.status()
    if status["state"] != "detached" or not status["nodes"]:
        raise SystemExit(f"status of a detached study: {status}")
    if (state := study.ask("watch", study.directory(), "--once")["state"]) != "detached":
        raise SystemExit(f"watch calls a detached study {state}")
    say(f"detached with {len(out)} tasks out: {status['tasks']} on {status['nodes']}")
    cluster.wait("its tasks to end without it", lambda: not cluster.tasks(), 600)
    waiting = study.status()["waiting"]
    if waiting != len(out):
        raise SystemExit(f"{len(out)} tasks ended, and {waiting} results wait")
    study.start()
    study.expect(*CONCLUDED)
    made, found = len(cluster.tasks("completed")) - earlier, len(study.figures())
    if made != found:
        raise SystemExit(f"{found} measurements by {made} tasks: some were made twice")
    say(f"{waiting} results waited and were picked up: {found} measurements by {made} tasks")


def same(name, local, found):
    """Ends with an error unless figures and answer are the same."""
    if local.figures() != found.figures():
        raise SystemExit(f"{name}: other figures than here alone")
    if differing := difference(local.answer(), found.answer()):
        raise SystemExit(f"{name}: another answer than here alone: {differing}")
    chosen = found.answer()
    say(f"{name}: {len(found.figures())} measurements and the answer ({chosen['status']} {chosen['chosen']}) as here alone")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("program", type=Path, metavar="PROGRAM")
    parser.add_argument("--budget", type=Path, metavar="FILE", help="the study; a tiny one where absent")
    parser.add_argument("--undisturbed", action="store_true", help="once, without disturbances")
    parser.add_argument("--require", action="store_true", help="fail where Slurm is missing")
    arguments = parser.parse_args()
    if missing():
        print(f"skipped: {', '.join(missing())} is missing (as root: apt-get install slurm-wlm munge)")
        return 1 if arguments.require else 0

    with tempfile.TemporaryDirectory(prefix="privynet-slurm-") as folder:
        folder = Path(folder)
        program = arguments.program.resolve()
        if arguments.budget:
            budget = arguments.budget.resolve()
        else:
            subprocess.run([sys.executable, TINY, folder / "tiny", "--images", "720", "--evaluations", "6"], check=True)
            budget = folder / "tiny" / "budget.yaml"
        # The executor is no part of the study: it runs from a copy of the budget that names one.
        cluster_budget = budget.with_name("slurm-test-budget.yaml")
        text = budget.read_text()
        if "\nname:" not in text:
            text = f"name: {budget.parent.name}-{budget.stem}\n{text}"
        cluster_budget.write_text(text + EXECUTOR)
        try:
            with Cluster(folder / "cluster") as cluster:
                local = Study(program, cluster_budget, folder / "local", cluster.environment)
                rehearse(local, budget.with_name("slurm-test-refused.yaml"))
                say("the study on this machine alone")
                local.start("--executor", "local")
                local.expect(*CONCLUDED)
                if arguments.undisturbed:
                    study = Study(program, cluster_budget, folder / "undisturbed", cluster.environment)
                    study.start()
                    study.expect(*CONCLUDED)
                    same("on three nodes", local, study)
                    return 0
                for name, run in (("disturbed", disturb), ("interrupted", interrupt)):
                    study = Study(program, cluster_budget, folder / name, cluster.environment)
                    run(cluster, study)
                    same(name, local, study)
        finally:
            cluster_budget.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
