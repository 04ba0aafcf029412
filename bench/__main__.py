"""`python -m bench [NAME …]`: runs the suites named (all by default) and prints one table."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import time

SUITES = ("planning", "incremental", "daemon", "serving", "containers", "kubernetes")


def main(names: list[str]) -> int:
    """Runs suites; a row that misses its goal is marked, and makes the exit code 1."""
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        print(f"no such suite: {', '.join(unknown)} (there are {', '.join(SUITES)})", file=sys.stderr)
        return 10
    rows = []
    for name in names or SUITES:
        started = time.monotonic()
        rows += importlib.import_module(f"bench.{name}").rows()
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} cores; ratios are medians of interleaved rounds\n")
    print("| what | against | goal | measured | |")
    print("|---|---|---|---|---|")
    for row in rows:
        mark = {True: "met", False: "MISSED", None: ""}[row.met]
        print(f"| {row.what} | {row.against} | {row.goal} | {row.measured} | {mark} |")
    notes = [f"- {row.what}: {row.note}" for row in rows if row.note]
    if notes:
        print("\n" + "\n".join(notes))
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
