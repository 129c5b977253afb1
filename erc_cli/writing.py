"""Writing a result by a plugin that may take long, and may have something to say of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from erc_cli.files import atomic_write
from erc_cli.learning import Report
from erc_cli.specs import WriterSpec
from erc_cli.types import Result


def write_result(
    spec: WriterSpec,
    result: Result,
    path: Path,
    *,
    force: bool,
    report: Report,
    say: Callable[[str], None],
    **options: Any,
) -> None:
    """Write one output, whole or not at all.

    A writer whose `write` has the keywords `report` or `say` is given them: for its progress, and for one
    line about what it had to do otherwise. `options` are given as they are.

    Raises:
        ErcError: the file cannot be written, or the writer refuses.
    """
    taken = inspect.signature(spec.write).parameters
    more = {name: given for name, given in (("report", report), ("say", say)) if name in taken}
    with atomic_write(path, force) as draft:
        spec.write(result, draft, **more, **options)
