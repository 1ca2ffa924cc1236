"""Checks the #include lines: dependencies point policy <- overlay <- migration <- agent.

CMake checks the same of its targets; a header reaches further than a target, hence this. Beside the
order of the folders: policy/ decides and does no I/O, so it sees the standard library, Boost and fmt
only, without threads and streams; and the headers of Open vSwitch are seen in overlay/ovsdb and
overlay/vswitch alone.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

LAYERS = ["policy", "overlay", "migration", "agent"]
OVS_SHIMS = ("overlay/ovsdb/", "overlay/vswitch/")
NOT_FOR_POLICY = {"condition_variable", "filesystem", "fstream", "future", "iostream", "mutex",
                  "semaphore", "shared_mutex", "thread"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def complaint(path: str, quoted: bool, name: str) -> str | None:
    """What is wrong with one #include of the file at `path`, or None."""
    layer = path.split("/")[0]
    top = name.split("/")[0]
    if top in LAYERS and LAYERS.index(top) > LAYERS.index(layer):
        return f"{layer}/ must not know of {top}/"
    if quoted and top not in LAYERS and not path.startswith(OVS_SHIMS) and not path.endswith(".bpf.c"):
        return "project headers are included by their path from the root, others in <>"
    if not quoted and top == "openvswitch" and not path.startswith(OVS_SHIMS):
        return f"the headers of Open vSwitch are for {' and '.join(OVS_SHIMS)} alone"
    if layer == "policy" and not quoted:
        if name in NOT_FOR_POLICY or (top not in ("boost", "fmt") and ("/" in name or name.endswith(".h"))):
            return "policy/ decides only: the standard library without threads and streams, Boost, fmt"
    return None


def main() -> int:
    patterns = [f"{layer}/*.{kind}" for layer in LAYERS for kind in ("h", "cc", "c")]
    files = subprocess.run(["git", "ls-files", "--", *patterns], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.split()
    failures = 0
    for path in filter(os.path.isfile, files):
        text = Path(path).read_text()
        for match in INCLUDE.finditer(text):
            if why := complaint(path, match[1] == '"', match[2]):
                line = text.count("\n", 0, match.start()) + 1
                print(f"{path}:{line}: {match[0].strip()}: {why}")
                failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
