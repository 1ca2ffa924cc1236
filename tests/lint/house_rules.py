"""Checks what CONTRIBUTING.md says about every file: short, finished, and without sleeps in tests."""

import re
import subprocess
import sys
from pathlib import Path

MOST_LINES = 600
SOURCE = re.compile(r"\.(h|cc|c|proto|py|cmake)$")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|TEMPORARY)\b")
POLLS = "tests/lab/wait.cc"  # the one place that looks again after a moment, up to a deadline
LOG = re.compile(r"^#include <spdlog/")  # the log cleans, limits and counts what it writes
SLEEP = re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep|GTEST_SKIP|DISABLED_\w+)\b|\bsleep\(")


def complaints(path: str, text: str):
    """Yields (line number, what is wrong) for one file."""
    lines = text.splitlines()
    if SOURCE.search(path) and len(lines) > MOST_LINES:
        yield MOST_LINES, f"{len(lines)} lines; a file of more than {MOST_LINES} wants to be two"
    for number, line in enumerate(lines, start=1):
        if found := UNFINISHED.search(line):
            yield number, f"{found[0]}: finish it, or open an issue"
        if LOG.search(line) and "overlay/log/" not in path:
            yield number, "the log is written through overlay/log/log.h"
        if not path.startswith("tests/") or path == POLLS or not SOURCE.search(path):
            continue
        if found := SLEEP.search(line):
            yield number, f"{found[0]}: tests wait for conditions, and none is skipped"


def main() -> int:
    files = subprocess.run(["git", "ls-files", "-z"], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.split("\0")
    failures = 0
    for path in filter(None, files):
        if path == "tests/lint/house_rules.py" or not Path(path).is_file():
            continue
        try:
            text = Path(path).read_text()
        except UnicodeDecodeError:
            continue  # a picture, a capture
        for line, why in complaints(path, text):
            print(f"{path}:{line}: {why}")
            failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
