"""Runs the unit tests of a build with --coverage and compares the lines they reach with a floor.

    tests/coverage.py BUILD_DIR

The floor, tests/coverage-floor, holds the least line coverage of each top-level folder in percent. It
is only ever raised: this fails below it, and says so when a folder has risen more than a point above.
Only what the unit tests reach is counted; what the root and lab groups try is reached in their own way.
"""

import collections
import json
import math
import os
import subprocess
import sys
from pathlib import Path

FLOOR = Path("tests/coverage-floor")
WORTH_RAISING = 1.0  # points


def floors() -> dict[str, float]:
    lines = (line.split("#")[0].split() for line in FLOOR.read_text().splitlines())
    return {folder: float(percent) for folder, percent in filter(None, lines)}


def measure(build: Path, folders: list[str]) -> dict[str, tuple[int, int]]:
    """Lines covered and lines there are, by top-level folder."""
    command = ["gcovr", "--root", ".", "-j", str(os.cpu_count()), "--json-summary", "-",
               "--exclude-unreachable-branches"]
    for folder in folders:
        command += ["--filter", f"{folder}/"]
    summary = json.loads(subprocess.run([*command, str(build)], check=True, text=True,
                                        stdout=subprocess.PIPE).stdout)
    totals: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    for file in summary["files"]:
        total = totals[file["filename"].split("/")[0]]
        total[0] += file["line_covered"]
        total[1] += file["line_total"]
    return {folder: (covered, lines) for folder, (covered, lines) in totals.items()}


def main(build: Path) -> int:
    for counters in build.rglob("*.gcda"):
        counters.unlink()  # of the run before
    tests = subprocess.run(["ctest", "--preset", "coverage"]).returncode
    if tests != 0:
        return tests
    wanted = floors()
    measured = measure(build, list(wanted))
    failed = 0
    print(f"\n{'folder':<12}{'lines':>8}{'covered':>9}{'floor':>8}")
    for folder, floor in wanted.items():
        covered, lines = measured.get(folder, (0, 0))
        percent = 100 * covered / lines if lines else 0.0
        note = ""
        if percent < floor:
            note = "below the floor: test what is new"
            failed = 1
        elif percent > floor + WORTH_RAISING:
            note = f"raise its floor in {FLOOR} to {math.floor(percent)}"
        print(f"{folder:<12}{lines:>8}{percent:>8.1f}%{floor:>7g}%  {note}")
    return failed


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    sys.exit(main(Path(sys.argv[1])))
