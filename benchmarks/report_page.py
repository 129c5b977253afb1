"""The report in Chromium: size, time until it can be used, and how smooth it stays.

    python benchmarks/report_page.py [UTTERANCES …]        default: 100 5000 20000

Needs the dev group, chromium and chromedriver. Frames: 100 of them, while the table (200 pixels a frame,
about 4 rows) or the zoomed timeline is scrolled in each; the median time from one to the next, and in
brackets the CPU time of the page's process for one. 17 ms is as fast as frames come.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins"), str(ROOT / "tests")]

from reportkit import Page, browser, made  # noqa: E402

import erc_format_html  # noqa: E402

FRAMES = 100
SCROLL = """
const [pane, axis, frames, done] = [document.querySelector(arguments[0]), ...[...arguments].slice(1)];
const times = [];
let last = performance.now();
let left = frames;
(function step(now) {
  times.push(now - last);
  last = now;
  pane[axis] += axis === "scrollTop" ? 200 : 60;
  if (left--) requestAnimationFrame(step);
  else done(times.slice(2));
})(last);
"""
FILTER = """
const words = document.querySelector("#words");
const times = [];
for (const value of ["h", "ho", "hou", "house", "house r", "house rain", ""]) {
  const start = performance.now();
  words.value = value;
  words.dispatchEvent(new Event("input"));
  document.body.offsetHeight;
  times.push(performance.now() - start);
}
return times;
"""
READY = "return performance.getEntriesByName('erc-ready')[0].startTime"


def cpu(page: Page) -> float:
    """CPU seconds of the page's process so far."""
    found = page.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return float(next(one["value"] for one in found if one["name"] == "ProcessTime"))


def frames(page: Page, css: str, axis: str) -> str:
    """Milliseconds from frame to frame, and of CPU time for a frame."""
    before = cpu(page)
    times: list[Any] = page.driver.execute_async_script(SCROLL, css, axis, FRAMES)
    return f"{statistics.median(times):.0f} ({1000 * (cpu(page) - before) / FRAMES:.0f})"


def line(page: Page, folder: Path, count: int) -> str:
    """One row of the table."""
    result = made(count, speakers=[f"Speaker {i}" for i in range(6)])
    path = folder / f"{count}.html"
    begun = time.perf_counter()
    erc_format_html.erc_writers()[0].write(result, path)
    wrote = time.perf_counter() - begun
    ready = []
    for _ in range(3):
        page.open(path)
        ready.append(page.run(READY) / 1000)
    typed = max(page.run(FILTER))
    table = frames(page, "#table", "scrollTop")
    for _ in range(5):
        page.click("#zoom-in")
    timeline = frames(page, "#pane", "scrollLeft")
    cells = (
        f"{count:,}",
        f"{path.stat().st_size / 1e6:.2f}",
        f"{wrote:.2f}",
        f"{statistics.median(ready):.2f}",
    )
    return f"| {' | '.join(cells)} | {typed:.0f} | {table} | {timeline} |"


def main() -> None:
    """Print a table in Markdown."""
    counts = [int(word) for word in sys.argv[1:]] or [100, 5000, 20000]
    print("| utterances | MB | written (s) | usable (s) | a letter typed (ms) | table (ms) | timeline (ms) |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder)) as page:
        page.driver.set_script_timeout(300)
        page.driver.execute_cdp_cmd("Performance.enable", {})
        for count in counts:
            print(line(page, Path(folder), count), flush=True)


if __name__ == "__main__":
    main()
