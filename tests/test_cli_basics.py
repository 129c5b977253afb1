"""The frame of the command line: help, versions, exit codes, streams, listings, presets, completion."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from erc_cli import __version__, main
from erc_cli.commands import plugins as plugins_command
from erc_cli.commands import presets as presets_command
from erc_cli.errors import ErcError
from erc_cli.registry import Registry
from erc_cli.testing import FakePlugin

ROOT = Path(__file__).parents[1]
GOOD = """\
# a comment that a copy keeps
summary: for tests
labels: [calm, loud]
extractors:
  text: {use: fake-text}
fusion: {use: fake-mean}
"""


def _erc(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The real process, as a user starts it."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    return subprocess.run(
        [sys.executable, "-c", "from erc_cli.main import main; main()", *arguments],
        env={**os.environ, "PYTHONPATH": paths, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The commands see the fake plugins and no built-in presets; the folder to work in."""

    def registry() -> Registry:
        return Registry.of(FakePlugin(), package="fakes")

    monkeypatch.setattr(plugins_command, "load_registry", registry)
    monkeypatch.setattr(presets_command, "load_registry", registry)
    monkeypatch.setattr("erc_cli.preset.presets_folder", lambda: tmp_path / "presets")
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "plain.yaml").write_text(GOOD)
    trained = tmp_path / "presets" / "deep"
    trained.mkdir()
    (trained / "preset.yaml").write_text(GOOD)
    (trained / "card.md").write_text("# card\n")
    (trained / "metrics.json").write_text('{"text": {"weighted_f1": 0.6214, "seeds": [0, 1]}}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main.erc, list(arguments), prog_name="erc", standalone_mode=False)


def test_help_shows_examples_before_commands() -> None:
    text = _erc("--help").stdout
    assert text.index("Examples:") < text.index("Commands:") < text.index("Options:")
    assert "  erc predict video.mp4 --transcript video.srt\n" in text
    for name in main.COMMANDS:
        assert f"  {name} " in text


def test_every_command_that_is_listed_exists_and_has_help() -> None:
    for name, (where, summary) in main.COMMANDS.items():
        module = Path(*where.partition(":")[0].split("."))
        assert (ROOT / module.with_suffix(".py")).is_file(), f"{name}: no {module}.py"
        command = main.erc.get_command(click.Context(main.erc), name)
        assert command is not None
        assert command.help, name
        assert summary.endswith(".")
        assert len(summary) <= 66, "fits on one line of 80 columns"


def test_version() -> None:
    answer = _erc("--version")
    assert (answer.stdout, answer.returncode) == (f"erc {__version__}\n", 0)


def test_unknown_command_and_option_name_the_nearest() -> None:
    for arguments, said in (
        (("pedict",), "No such command 'pedict'. Did you mean 'predict'?"),
        (("presets", "lst"), "No such command 'lst'. Did you mean 'list'?"),
        (("plugins", "list", "--jsn"), "Did you mean '--json'?"),
    ):
        answer = _erc(*arguments)
        assert answer.returncode == 2
        assert said in answer.stderr
        assert answer.stdout == ""


def test_error_is_a_message_with_a_hint_and_an_exit_code() -> None:
    answer = _erc("presets", "show", "defalt-ish-nothing")
    assert answer.returncode == 2
    assert answer.stdout == ""
    first, hint = answer.stderr.splitlines()
    assert first.startswith("Error: There is no preset called 'defalt-ish-nothing'.")
    assert hint == "See: erc presets list"
    assert "\x1b" not in answer.stderr


def test_failure_has_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def fails() -> None:
        raise ErcError("it broke", hint="Type: erc doctor")

    monkeypatch.setattr(main, "erc", fails)
    monkeypatch.setattr(sys, "argv", ["erc"])
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == "Error: it broke\nType: erc doctor\n"


def test_exit_code_of_a_command_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.pass_context
    def partly(ctx: click.Context) -> None:
        ctx.exit(3)

    monkeypatch.setattr(main, "erc", partly)
    monkeypatch.setattr(sys, "argv", ["erc"])
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == 3


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process on Windows")
def test_interrupt_is_one_line_and_130() -> None:
    code = (
        "import sys, time, click\nfrom erc_cli import main\n"
        "@click.command()\ndef slow():\n    click.echo('ready'); sys.stdout.flush(); time.sleep(30)\n"
        "main.erc = slow\nsys.argv = ['erc']\nmain.main()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.strip() == "Interrupted; nothing half-written is left."


@pytest.mark.skipif(shutil.which("head") is None, reason="needs head")
def test_closed_pipe_is_quiet() -> None:
    command = f"'{sys.executable}' -c 'from erc_cli.main import main; main()' plugins list --json | head -c 1"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        command, shell=True, capture_output=True, text=True, check=False, env=env, timeout=60
    )
    assert answer.stderr == ""
    assert answer.stdout == "{"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("where", ["> /dev/full", ">&-"])
@pytest.mark.parametrize("arguments", ["plugins list", "plugins list --json", "--help"])
def test_stdout_that_cannot_be_written_is_one_message(arguments: str, where: str) -> None:
    answer = _shell(f"{arguments} {where}")
    assert answer.returncode == 1
    assert "could not be written to stdout" in answer.stderr
    assert len(answer.stderr.splitlines()) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_closed_stderr_and_a_reader_that_leaves() -> None:
    answer = _shell("presets show nothing-like-it 2>&-")
    assert (answer.returncode, answer.stdout) == (2, "")
    for listing in ("plugins list", "plugins list --json", "presets show default"):
        answer = _shell(f"{listing} | true; exit ${{PIPESTATUS[0]}}")
        assert (answer.returncode, answer.stderr) == (0, ""), listing


def _shell(arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")])}
    return subprocess.run(
        [shutil.which("bash") or "sh", "-c", f"'{sys.executable}' -m erc_cli {arguments}"],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        timeout=60,
    )


def test_every_warning_is_documented() -> None:
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    sources = [p for folder in ("erc_cli", "plugins") for p in (ROOT / folder).rglob("*.py")]
    made = re.compile(r"(?:Notice|\.tell)\(\s*\"([a-z_]+)\"")
    codes = {code for path in sources for code in made.findall(path.read_text(encoding="utf-8"))}
    assert len(codes) > 10
    assert [code for code in sorted(codes) if f"| `{code}` |" not in text] == []


def test_terminal_without_utf8_gets_no_traceback() -> None:
    answer = _erc("presets", "check", "--help", PYTHONIOENCODING="latin-1")
    assert answer.returncode == 0, answer.stderr
    assert "NAME|FILE?" in answer.stdout


# --- plugins -------------------------------------------------------------------------------


def test_plugins_list_fits_80_columns_and_has_json(fakes: Path) -> None:
    text = _run("plugins", "list").output
    assert max(map(len, text.splitlines())) <= 80
    for word in ("fake-text", "text extractor", "fake-mean", "fusion", "fakes", "ok"):
        assert word in text
    rows = json.loads(_run("plugins", "list", "--kind", "fusion", "--json").output)
    assert rows["schema"] == "erc.plugins/1"
    assert [row["name"] for row in rows["plugins"]] == ["fake-mean"]


def test_plugins_show(fakes: Path) -> None:
    text = _run("plugins", "show", "fake-audio").output
    assert max(map(len, text.splitlines())) <= 80
    assert "fake-audio  audio extractor of fakes" in text
    line = next(line for line in text.splitlines() if "scale" in line)
    assert line.split() == ["scale", "float", "1.0"]
    with pytest.raises(ErcError, match="Did you mean 'fake-audio'"):
        CliRunner().invoke(
            main.erc, ["plugins", "show", "fake-audo"], standalone_mode=False, catch_exceptions=False
        )


# --- presets -------------------------------------------------------------------------------


def test_presets_list(fakes: Path) -> None:
    text = _run("presets", "list").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "plain" in text
    rows = json.loads(_run("presets", "list", "--json").stdout)["presets"]
    assert [(r["name"], r["state"], r["trained"]) for r in rows] == [
        ("deep", "ok", True),
        ("plain", "ok", False),
    ]


def test_presets_show_prints_the_yaml_and_talks_on_stderr(fakes: Path) -> None:
    answer = _run("presets", "show", "deep")
    assert answer.stdout == GOOD
    assert "# text.weighted_f1: 0.6214" in answer.stderr
    assert "card.md" in answer.stderr
    about = json.loads(_run("presets", "show", "deep", "--json").stdout)
    assert about["metrics"]["text"]["weighted_f1"] == 0.6214
    assert about["extractors"] == {"text": "fake-text"}


def test_presets_check_tells_problems_and_exits_with_1(fakes: Path) -> None:
    bad = fakes / "bad.yaml"
    bad.write_text(GOOD.replace("fake-mean", "fake-men"))
    good = _run("presets", "check", "plain", "deep")
    assert good.return_value == 0 or good.return_value is None
    answer = _run("presets", "check", "plain", str(bad))
    assert answer.return_value == 1
    assert "line 6, fusion.use: There is no fusion called 'fake-men'." in answer.stdout
    data = json.loads(_run("presets", "check", str(bad), "--json").stdout)
    assert data["presets"][0]["problems"][0]["key"] == "fusion.use"


def test_presets_copy_keeps_what_is_there(fakes: Path) -> None:
    assert _run("presets", "copy", "plain", "mine.yaml").exception is None
    assert (fakes / "mine.yaml").read_text() == GOOD
    again = _run("presets", "copy", "plain", "mine.yaml")
    assert "exists already and is kept" in str(again.exception)
    assert _run("presets", "copy", "plain", "mine.yaml", "--force").exception is None


def test_presets_copy_of_a_trained_one_is_a_folder(fakes: Path) -> None:
    assert _run("presets", "copy", "deep", "mine").exception is None
    assert sorted(p.name for p in (fakes / "mine").iterdir()) == ["preset.yaml"]  # no other's figures
    assert "is kept" in str(_run("presets", "copy", "deep", "mine").exception)
    (fakes / "mine" / "extra.txt").write_text("x")
    assert _run("presets", "copy", "deep", "mine", "--force").exception is None
    assert not (fakes / "mine" / "extra.txt").exists()
    (fakes / "precious").mkdir()
    refused = _run("presets", "copy", "deep", "precious", "--force")
    assert "is not a preset" in str(refused.exception)
    assert "lies inside" in str(_run("presets", "copy", "./mine", "mine/inner").exception)
    assert [p.name for p in fakes.iterdir() if p.name.startswith(".")] == []


# --- completion ----------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_says_how_to_install_it(shell: str) -> None:
    text = _run("completion", shell).output
    assert text.startswith(f"# Install with: erc completion {shell} > ")
    assert "_ERC_COMPLETE" in text
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True, timeout=20)


def test_completion_offers_commands() -> None:
    answer = _erc(_ERC_COMPLETE="bash_complete", COMP_WORDS="erc pre", COMP_CWORD="1")
    assert answer.stdout.split() == ["plain,predict", "plain,presets"]
