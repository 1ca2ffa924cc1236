"""Runs clang-tidy, with the checks of .clang-tidy, over the sources of the layers.

    tidy.py BUILD_DIR CACHE_DIR [--all]

Reading Boost's headers takes seconds for each file. So it looks at what the working tree and the
last commits have touched unless --all is given, and a file found clean is remembered in the cache,
under a hash of itself, every project header it includes (as ninja recorded them), its command line
and .clang-tidy, and not read again before one of them changes.
"""

import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

LAYERS = ("policy/", "overlay/", "migration/", "agent/")
LAST_COMMITS = "10"


def git(*arguments: str) -> set[str]:
    return set(subprocess.run(["git", *arguments], check=True, text=True,
                              stdout=subprocess.PIPE).stdout.split("\n"))


def touched() -> set[str]:
    """Paths without their suffix, so that a changed header stands for its source too."""
    names = git("log", "-n", LAST_COMMITS, "--name-only", "--pretty=format:")
    return {os.path.splitext(name)[0] for name in names | git("diff", "--name-only", "HEAD")}


def dependencies(build: Path) -> dict[str, list[Path]]:
    """Object file -> the files it was compiled from, by ninja's record."""
    listing = subprocess.run(["ninja", "-C", build, "-t", "deps"], check=True, text=True,
                             stdout=subprocess.PIPE).stdout
    result: dict[str, list[Path]] = {}
    for line in listing.splitlines():
        if line.startswith("    "):
            result[target].append(build / line.strip())
        elif ": #deps" in line:
            target = line.split(":")[0]
            result[target] = []
    return result


def fingerprint(command: str, sources: list[Path]) -> str:
    digest = hashlib.sha256(command.encode())
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def main(build: Path, cache: Path, everything: bool) -> int:
    root = Path.cwd()
    cache.mkdir(parents=True, exist_ok=True)
    chosen = git("ls-files")
    if not everything:
        recent = touched()
        chosen = {name for name in chosen if os.path.splitext(name)[0] in recent}
    recorded = dependencies(build)
    todo = []
    for entry in json.loads((build / "compile_commands.json").read_text()):
        name = os.path.relpath(entry["file"], root)
        if name not in chosen or not name.startswith(LAYERS):
            continue
        object_file = re.search(r" -o (\S+)", entry["command"])[1]
        own = [path for path in recorded.get(object_file, [])
               if path.is_file() and path.is_relative_to(root)]
        mark = cache / fingerprint(entry["command"], [root / ".clang-tidy", root / name, *own])
        if not mark.exists():
            todo.append((name, mark))

    def check(job: tuple[str, Path]) -> bool:
        name, mark = job
        run = subprocess.run(["clang-tidy-16", "-p", build, "--quiet", name], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if run.returncode == 0:
            mark.touch()
        else:
            print(run.stdout or run.stderr, flush=True)
        return run.returncode == 0

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        clean = list(pool.map(check, sorted(set(todo))))
    print(f"clang-tidy read {len(todo)} files, {clean.count(False)} with findings")
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]) / "tidy", "--all" in sys.argv[3:]))
