#!/usr/bin/env python3
"""Kills, interrupts and starves the real program, and holds what is left against an undisturbed run.

    python3 tests/faults.py target/release/privynet [--kills 20] [--only kills|interrupts|disk]
    python3 tests/faults.py target/release/privynet --budget FILE.yaml --name STUDY [--moments 1,4,16]

1. A tiny study is killed (SIGKILL) at random moments and started again until it concludes, so often that 20 kills come together:
   what was in the journal stays as it was, no measurement is made twice, and the conclusion is that of the undisturbed run but for
   the time that it took.
2. SIGINT and SIGTERM at several moments: the program ends within two seconds with exit code 130, says what is kept, leaves no sign
   of life, and its page says that the study stopped. With `--budget`, that study is interrupted: one with long steps.
3. A disk that is too small (a file system of its own; needs root): what was measured stays readable, the message says so, and once
   there is space the same command goes on to the same conclusion.

Needs the standard library alone. Exits with 1 at the first thing that is not so.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECONDS_TO_END = 2.0


def fail(text):
    print(f"FAILED: {text}")
    sys.exit(1)


def command(program, budget, folder):
    return [program, "optimize", str(budget), "--fresh", "--results", str(folder / "results"), "--reports", str(folder / "reports")]


def journal_lines(study):
    path = study / "journal.jsonl"
    return path.read_text().splitlines(keepends=True) if path.exists() else []


def conclusion(study):
    """The study's conclusion without what differs from run to run: times and paths."""

    def timeless(value):
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if k not in ("seconds", "sum", "provenance")}
        return [timeless(v) for v in value] if isinstance(value, list) else value

    return timeless(json.loads((study / "blobs/conclusion.json").read_text()))


def measured_once(study):
    keys = [json.loads(line)["data"].get("evaluation") for line in journal_lines(study)[1:]]
    keys = [(e["design"], e["fidelity"], e["seed"]) for e in keys if e]
    if len(set(keys)) != len(keys):
        fail(f"a measurement is in the journal twice: {sorted(keys)}")
    return len(keys)


def undisturbed(program, budget, folder, name):
    start = time.monotonic()
    run = subprocess.run(command(program, budget, folder), capture_output=True, text=True)
    if run.returncode not in (0, 3, 4):
        fail(f"the undisturbed run ended with {run.returncode}: {run.stderr}")
    study = folder / "results" / name
    return study, conclusion(study), run.returncode, time.monotonic() - start


def kills(program, budget, folder, undisturbed, count, moments):
    whole, expected, code, span = undisturbed
    killed = concluded = 0
    while killed < count:
        there = folder / f"killed-{killed}"
        study = there / "results/tiny"
        while True:
            before = journal_lines(study)
            child = subprocess.Popen(command(program, budget, there), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if killed < count:
                try:
                    child.wait(moments.uniform(0, span))
                except subprocess.TimeoutExpired:
                    child.kill()
                    killed += 1
            ended = child.wait()
            after = journal_lines(study)
            # A last line without its end is what the kill was in the middle of.
            whole_lines = [line for line in before if line.endswith("}\n")]
            if after[: len(whole_lines)] != whole_lines:
                fail("a finished measurement is gone from the journal")
            if ended >= 0:
                break
        if ended != code or conclusion(study) != expected:
            fail(f"after {killed} kills the study ended with {ended}, and otherwise than the undisturbed one with {code}")
        if measured_once(study) != measured_once(whole):
            fail("the killed study made more or fewer measurements than the undisturbed one")
        concluded += 1
    print(f"{killed} kills: {concluded} studies concluded as the undisturbed one, nothing lost, nothing measured twice", flush=True)


def interrupts(program, budget, name, folder, span, moments):
    worst = 0.0
    tried = []
    for number, after in enumerate(moments):
        for sign in (signal.SIGINT, signal.SIGTERM):
            there = folder / f"interrupted-{number}-{sign.name}"
            child = subprocess.Popen(command(program, budget, there), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            time.sleep(after * span)
            if child.poll() is not None:
                child.communicate()
                continue
            child.send_signal(sign)
            start = time.monotonic()
            _, errors = child.communicate()
            took = time.monotonic() - start
            worst = max(worst, took)
            told = f"{sign.name} after {after * span:.2f} s: exit code {child.returncode} after {took:.2f} s: {errors[-300:]}"
            if child.returncode != 130 or took > SECONDS_TO_END:
                fail(told)
            if "interrupted" not in errors:
                fail(f"nothing is said: {told}")
            study = there / "results" / name
            if (study / "live.json").exists():
                fail(f"a sign of life is left: {told}")
            page = there / "reports" / name / "index.html"
            if page.exists() and 'data-again' in page.read_text():
                fail(f"the page waits for more: {told}")
            tried.append(took)
    if not tried:
        fail("no interrupt came before the study's end")
    print(f"{len(tried)} interrupts (SIGINT, SIGTERM): exit code 130 after {worst:.2f} s at most")


def full_disk(program, budget, folder, undisturbed):
    _, expected, code, _ = undisturbed
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "privynet-test", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        print("full disk: skipped, no file system can be mounted here")
        return
    try:
        study = disk / "results/tiny"
        runs = 0
        said = ""
        for size in ("300k", "420k", "64m"):
            subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)
            before = journal_lines(study)
            # Features may lie elsewhere: it is the study that finds no space.
            run = subprocess.run(command(program, budget, disk), capture_output=True, text=True)
            runs += 1
            if journal_lines(study)[: len(before)] != before:
                fail("a row is gone after the disk was full")
            if run.returncode == code:
                break
            said = run.stderr
            if run.returncode != 2 or "space" not in said:
                fail(f"a full disk: exit code {run.returncode}: {said}")
        if runs < 2:
            fail("the disk was never full")
        if conclusion(study) != expected:
            fail("after the disk was full the study concluded otherwise")
        print(f"full disk: {runs - 1} times, then concluded as the undisturbed one; lastly said: {said.strip().splitlines()[-1][:160]}")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=["kills", "interrupts", "disk"])
    parser.add_argument("--budget", type=Path, help="a study with long steps to interrupt, named as its budget says")
    parser.add_argument("--name", help="the study's name in that budget")
    parser.add_argument("--moments", help="seconds after which it is interrupted", default="0.3,1,2,4,8,16,32")
    arguments = parser.parse_args()
    program = str(Path(arguments.program).resolve())
    folder = Path(tempfile.mkdtemp(prefix="privynet-faults-"))
    try:
        if arguments.budget:
            moments = [float(moment) for moment in arguments.moments.split(",")]
            interrupts(program, arguments.budget.resolve(), arguments.name, folder, 1.0, moments)
            return
        subprocess.run([sys.executable, str(HERE / "page/tiny_study.py"), str(folder / "tiny")], check=True)
        budget = folder / "tiny/budget.yaml"
        whole = undisturbed(program, budget, folder / "whole", "tiny")
        print(f"an undisturbed study takes {whole[-1]:.1f} s", flush=True)
        if arguments.only in (None, "kills"):
            kills(program, budget, folder, whole, arguments.kills, random.Random(arguments.seed))
        if arguments.only in (None, "interrupts"):
            interrupts(program, budget, "tiny", folder, whole[-1], [0.02, 0.2, 0.4, 0.6, 0.8])
        if arguments.only in (None, "disk"):
            full_disk(program, budget, folder, whole)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
