"""Makes docs/table.svg: what `erc predict` prints for the example. Run it when the output changes.

python docs/make_table.py
"""

from __future__ import annotations

import re
from pathlib import Path

from rich.console import Console

from erc_cli import view
from erc_cli.commands.work import Inputs, Wanted, load
from erc_cli.example import example_files
from erc_cli.registry import load_registry


def main() -> None:
    """Predict on the example and export the table."""
    wanted = Wanted("default", (), (), (), "cpu")
    work = load(load_registry(), wanted, Inputs(*example_files()), None, lambda step: None)
    result = work.answer(lambda step: None)
    console = Console(record=True, width=112, force_terminal=True, color_system="truecolor")
    console.print("[bold]$ erc predict conversation.mp4 --transcript conversation.srt[/]")
    console.print(view.result_table(result, console.width))
    console.print()
    console.print(view.speakers_table(result, console.width))
    svg = console.export_svg(title="erc predict")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # the picture fetches nothing
    (Path(__file__).parent / "table.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
