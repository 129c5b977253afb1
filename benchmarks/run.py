"""Speed and memory of erc as a user meets it: each line is a process of its own.

    python benchmarks/run.py                 start-up times
    python benchmarks/run.py FILE.mp4 …      and predict on films made by make_media.py

The transcript of FILE.mp4 is FILE.srt. Prints a table in Markdown; memory is the peak resident set.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

START = (["--help"], ["plugins", "list"], ["presets", "list"], ["--version"])


def measure(arguments: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak memory in MB of `erc ARGUMENTS`."""
    begun = time.perf_counter()
    process = subprocess.Popen([erc(), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    if status:
        sys.exit(f"erc {' '.join(arguments)} failed:\n{said.decode()}")
    unit = 1 if sys.platform == "darwin" else 1024
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6


def erc() -> str:
    """The command of the environment that runs this script."""
    return str(Path(sys.executable).parent / "erc")


def start_up(repeats: int) -> None:
    """Median of several starts."""
    print("| command | wall (s) | CPU (s) | memory (MB) |\n|---|---|---|---|")
    for arguments in START:
        runs = [measure(arguments) for _ in range(repeats + 1)][1:]  # the first one warms the disk
        wall, cpu, memory = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"| `erc {' '.join(arguments)}` | {wall:.2f} | {cpu:.2f} | {memory:.0f} |", flush=True)


def films(paths: list[Path], extra: list[str]) -> None:
    """`erc predict` on each film."""
    from erc_cli.media import probe

    print("\n| film | utterances | wall (s) | share of duration | CPU (s) | memory (MB) |")
    print("|---|---|---|---|---|---|")
    for path in paths:
        script = path.with_suffix(".srt")
        count = script.read_text(encoding="utf-8").count("-->")
        arguments = ["predict", str(path), "--transcript", str(script), "--json", "-q", *extra]
        wall, cpu, memory = measure(arguments)
        seconds = probe(path).duration
        length = f"{seconds / 60:.0f} min"
        print(
            f"| {length} | {count} | {wall:.0f} | {wall / seconds:.3f} | {cpu:.0f} | {memory:.0f} |",
            flush=True,
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("films", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--drop", action="append", default=[])
    given = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    start_up(given.repeats)
    if given.films:
        films(given.films, [word for m in given.drop for word in ("--drop", m)])


if __name__ == "__main__":
    main()
