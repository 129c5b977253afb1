"""docs/plugin-tutorial.md: its files are those that `erc plugins new` makes, and its commands work."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import ROOT

from erc_cli.registry import Registry
from erc_cli.scaffold import EXTRACTOR, SAMPLES, plan, rendered
from erc_cli.types import Modality

PAGE = (ROOT / "docs" / "plugin-tutorial.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "conversation.mp4"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
TABLE = "table.csv"


def shown() -> dict[str, str]:
    """Files by name, each shown in the block after the paragraph that begins with its name in bold."""
    files: dict[str, str] = {}
    for paragraph in re.finditer(r"^\*\*`([^`]+)`\*\*", PAGE, re.MULTILINE):
        block = BLOCK.search(PAGE, paragraph.end())
        assert block is not None, paragraph[1]
        files[paragraph[1]] = block[2]
    return files


def commands() -> list[str]:
    """Every line of the page's shell blocks, in order."""
    return [line for language, text in BLOCK.findall(PAGE) if language == "sh" for line in text.splitlines()]


@dataclass(slots=True)
class Shell:
    """Types the page's commands: erc and pip as modules, packages installed into a folder of their own."""

    folder: Path
    site: Path
    cache: Path
    said: dict[str, str] = field(default_factory=dict)

    def type(self, line: str) -> None:
        """Run one command; AssertionError with its output if it fails."""
        program, *words = shlex.split(line)
        if program == "cd":
            self.folder /= words[0]
            return
        module = {"erc": "erc_cli"}.get(program, program)
        if words[:2] == ["install", "-e"]:
            words = self._installation(words[2])
        paths = [self.site, ROOT, ROOT / "plugins"]
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(map(str, paths)),
                "ERC_CACHE": str(self.cache),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        self.said[line] = done.stdout

    def _installation(self, place: str) -> list[str]:
        """As `pip install -e PLACE`, without the network and into `site`, from a copy (pip leaves files)."""
        copy = self.cache / "copies" / str(len(self.said))
        shutil.copytree(self.folder / place.partition("[")[0], copy)
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(self.site)]
        return ["install", *options, str(copy)]


def test_the_files_on_the_page_are_those_that_are_made() -> None:
    files = dict(rendered(plan("loudness", EXTRACTOR, Modality.AUDIO, Registry())))
    page = shown()
    page.pop(TABLE)
    assert set(files) - set(page) == {"README.md", "erc_loudness/py.typed"}
    for name, text in page.items():
        assert text == files[name], name


def test_no_other_block_passes_for_a_file() -> None:
    blocks = [text for language, text in BLOCK.findall(PAGE) if language != "sh"]
    assert sorted(blocks) == sorted(shown().values())


def test_the_page_names_every_plugin_that_can_be_made() -> None:
    for name, sample in SAMPLES.items():
        option = f"--modality {name}" if name in tuple(Modality) else f"--kind {name}"
        row = next(
            line for line in PAGE.splitlines() if line.startswith(f"| `erc plugins new NAME {option}` |")
        )
        assert row.endswith(f"| {sample.summary} |")


@pytest.mark.slow
def test_the_commands_of_the_page(tmp_path: Path) -> None:
    """From nothing to a trained preset with the plugin in it, word by word."""
    pytest.importorskip("transformers", reason="the page uses the text branch (extra text)")
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed (dependency group dev)")
    for name in ("work", "site", "cache"):
        (tmp_path / name).mkdir()
    shell = Shell(tmp_path / "work", tmp_path / "site", tmp_path / "cache")
    for line in commands():
        shell.type(line)
        if line.startswith("cd "):
            for file in (EXAMPLE, EXAMPLE.with_suffix(".srt")):
                shutil.copy(file, shell.folder)
            (shell.folder / TABLE).write_text(shown()[TABLE])
    assert "4 passed" in shell.said["pytest"]
    assert "silence_db" in shell.said["erc plugins show loudness"]
    assert shell.said["erc presets check recipe.yaml"].startswith("untrained")
    assert (shell.folder / "runs" / "first" / "fusion.safetensors").is_file()
    answers = [said for line, said in shell.said.items() if line.startswith("erc predict")]
    assert [said.count("silent") for said in answers] == [1, 1]
    headings = [said.splitlines()[0].split() for said in answers]
    assert headings == [
        ["time", "speaker", "text", "emotion", *rest] for rest in (["audio"], ["text", "audio"])
    ]
