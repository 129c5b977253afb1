"""Starting up is quick because nothing heavy is imported; the real imports are looked at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "numpy", "transformers", "av", "parselmouth", "pysubs2", "torchaudio", "safetensors")

_PROBE = """
import sys
from erc_cli.main import main
try:
    main()
finally:
    heavy = {name.partition(".")[0] for name in sys.modules} & set(%r)
    sys.stderr.write("HEAVY " + " ".join(sorted(heavy)) + "\\n")
    sys.stderr.write("RICH " + str("rich" in sys.modules) + "\\n")
"""


def _probe(*arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    return subprocess.run(
        [sys.executable, "-c", _PROBE % (HEAVY,), *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--help",),
        ("--version",),
        ("plugins", "--help"),
        ("plugins", "list"),
        ("plugins", "list", "--json"),
        ("presets", "list"),
        ("presets", "list", "--json"),
        ("doctor", "--help"),
        ("completion", "bash"),
    ],
)
def test_nothing_heavy_is_imported(arguments: tuple[str, ...]) -> None:
    answer = _probe(*arguments)
    assert "HEAVY \n" in answer.stderr, answer.stderr
    assert answer.returncode == (2 if not arguments else 0), answer.stderr


def test_help_does_without_rich() -> None:
    assert "RICH False" in _probe("--help").stderr


def test_the_probe_would_notice(tmp_path: Path) -> None:
    """The guard is worth something only if it can fail: numpy imported by a plugin's front page."""
    (tmp_path / "erc_heavy.py").write_text("import numpy\n")
    info = tmp_path / "erc_heavy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: erc-heavy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[erc]\nheavy = erc_heavy\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})" + _PROBE % (HEAVY,)
    answer = subprocess.run(
        [sys.executable, "-c", code, "plugins", "list"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "HEAVY numpy\n" in answer.stderr
