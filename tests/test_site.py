"""The documentation site: it builds without a warning, needs no network, and its commands are real."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest
import yaml
from conftest import ROOT
from reportkit import Page, browser

from erc_cli import __version__, load_preset
from erc_cli.errors import ErcError
from erc_cli.main import erc as group

PAGES = sorted([*ROOT.glob("docs/*.md"), *map(ROOT.joinpath, ("README.md", "examples/README.md"))])
SHELL = re.compile(r"```(?:sh|console|bash)\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"(?<![`\w])`(erc [^`\n]+)`(?!`)")
#: of lines that are not to be typed as they are
GAPS = re.compile(r"…|\[")


def _site(source: Path, target: Path, builder: str = "html") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", str(ROOT / "docs")]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    return subprocess.run(
        [*command, "-b", builder, "-d", str(target / "doctrees"), str(source), str(target / builder)],
        env={**os.environ, "PYTHONPATH": paths, "http_proxy": "http://127.0.0.1:9", "no_proxy": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    for library in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(library, reason="needs the extra docs (pip install 'erc-cli[docs]')")
    folder = tmp_path_factory.mktemp("site")
    done = _site(ROOT, folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "html"


class _Asks(HTMLParser):
    """What a page loads when it is opened, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.links.append(given.get("href", ""))
        elif tag == "link" or "src" in given:
            self.loads.append(given.get("src") or given.get("href", ""))


def test_every_page_is_there_and_loads_nothing_from_elsewhere(site: Path) -> None:
    built = sorted(page.relative_to(site) for page in site.rglob("*.html"))
    assert {Path("docs") / f"{page.stem}.html" for page in ROOT.glob("docs/*.md")} < set(built)
    for page in built:
        asks = _Asks()
        asks.feed((site / page).read_text(encoding="utf-8"))
        assert [url for url in asks.loads if re.match(r"(?:\w+:)?//", url)] == [], page
        local = [url.partition("#")[0].partition("?")[0] for url in [*asks.loads, *asks.links]]
        local = [url for url in local if url and not re.match(r"\w+:", url)]
        assert [url for url in local if not (site / page).parent.joinpath(url).exists()] == [], page


def test_what_is_wrong_in_a_page_is_told(tmp_path: Path) -> None:
    for library in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(library, reason="needs the extra docs (pip install 'erc-cli[docs]')")
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# Start\n\n```{toctree}\na\n```\n")
    (docs / "a.md").write_text("# A\n\n[gone](gone.md), [heading](b.md#nothing), [good](b.md#b)\n")
    (docs / "b.md").write_text("# B\n")
    done = _site(tmp_path, tmp_path / "build")
    assert done.returncode == 1
    told = [line.partition(": WARNING")[0] for line in done.stderr.splitlines() if "WARNING" in line]
    assert sorted(place.rpartition("/")[2] for place in told) == ["a.md:3", "a.md:3", "b.md"], done.stderr
    assert "gone.md" in done.stderr
    assert "nothing" in done.stderr
    assert "isn't included in any toctree" in done.stderr


def test_the_man_page_has_every_command(tmp_path: Path, site: Path) -> None:
    assert _site(ROOT, site.parent, "man").returncode == 0
    text = (site.parent / "man" / "erc.1").read_text(encoding="utf-8").replace("\\-", "-")
    for path, _ in _commands():
        assert path in text or path.upper() in text
    assert "erc predict video.mp4 --transcript video.srt" in text


def test_a_browser_shows_it_without_complaint(site: Path, tmp_path: Path) -> None:
    with browser(tmp_path) as page:
        for name in ("docs/index.html", "docs/commands.html", "docs/api.html", "docs/plugin-api.html"):
            for width in (1360, 390):
                _look(page, site / name, width)
                assert page.complaints() == []
                assert [url for url in page.requests() if not url.startswith("file://")] == []
                assert page.run("return document.documentElement.scrollWidth <= window.innerWidth"), name
        _look(page, site / "search.html", 1360, "?q=shapley")
        page.until("return document.querySelectorAll('#search-results li a').length > 0")
        assert page.complaints() == []
        colours = []
        for scheme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            colours.append(page.run("return getComputedStyle(document.body).backgroundColor"))
        assert colours[0] == "rgb(255, 255, 255)"
        assert colours[1] != colours[0]


def _look(page: Page, path: Path, width: int, query: str = "") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.forget()
    page.driver.get(path.as_uri() + query)
    page.until("return document.readyState === 'complete' && !!document.querySelector('article')")


# --- commands ------------------------------------------------------------------------------


def _commands(
    command: click.Command = group, path: str = "erc", parent: click.Context | None = None
) -> Iterator[tuple[str, click.Context]]:
    """Every command, by its whole name."""
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent)
    yield path, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _commands(below, f"{path} {name}", context)


def test_every_command_shows_examples_before_its_options() -> None:
    found = dict(_commands())
    assert len(found) > 25
    for path, context in found.items():
        text = context.get_help()
        assert "Examples:\n" in text, path
        examples = text.index("Examples:\n")
        assert examples < text.index("Options:"), path
        assert examples < text.find("Commands:") or "Commands:" not in text, path
        assert f"\n  {path}" in text[examples : text.index("Options:")], path


def _typed(line: str) -> list[list[str]]:
    """The `erc` commands of a line of shell, without comments, pipes and redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, "#"
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|&;<>()"):
            found.append([])
        else:
            found[-1].append(word)
    return [words[1:] for words in found if words[:1] == ["erc"]]


def _parse(words: list[str]) -> None:
    """Parse as click does, and run nothing.

    Raises:
        click.UsageError: there is no such command or option.
    """
    command: click.Command = group
    context: click.Context | None = None
    name, rest = "erc", words
    while True:
        context = command.make_context(name, list(rest), parent=context)
        if not isinstance(command, click.Group):
            return
        left = [*context._protected_args, *context.args]
        if not left:
            return
        found, below, rest = command.resolve_command(context, left)
        assert below is not None
        name, command = str(found), below


def _refused(line: str, *tolerated: type[Exception]) -> list[str]:
    """What click has to say against the `erc` commands of a line; lines with gaps say nothing."""
    if "erc" not in line or GAPS.search(line.partition(" #")[0]):
        return []
    wrong = []
    for words in _typed(line):
        try:
            _parse(words)
        except (*tolerated, click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
            continue  # --help, --version, the name of a group
        except (click.ClickException, ErcError) as error:
            if not str(error).endswith("does not exist."):  # what an earlier command of the page makes
                wrong.append(f"{line}: {error}")
    return wrong


@pytest.mark.parametrize("page", [page.relative_to(ROOT) for page in PAGES], ids=str)
def test_the_commands_of_the_pages_parse(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = "\n".join(SHELL.findall(text))
    lines = [line.strip().removeprefix("$ ") for line in re.sub(r"\\\n\s*", " ", blocks).splitlines()]
    wrong = [told for line in lines for told in _refused(line)]
    # A sentence may name a command, or an option, without what belongs to it.
    names = (click.MissingParameter, click.BadOptionUsage)
    wrong += [told for line in INLINE.findall(text) for told in _refused(line, *names)]
    assert wrong == []


def test_a_command_that_is_not_there_is_found() -> None:
    for line in ("erc predict x.mp4 --transkript t.srt", "erc presets lst", "true && erc predikt x"):
        with pytest.raises(click.UsageError):
            _parse(_typed(line)[0])
    assert _refused("erc predict a.mp4 -t 'a b.srt' --json -q | jq .x  # and so on") == []
    assert _refused("erc train") != []
    assert _refused("erc train", click.MissingParameter) == []


# --- Python and citation -------------------------------------------------------------------


def test_the_python_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas", reason="needs pandas (pip install 'erc-cli[pandas]')")
    for name in ("conversation.mp4", "conversation.srt"):
        (tmp_path / name).write_bytes((ROOT / "examples" / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 6
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    said = capsys.readouterr().out
    assert re.search(r"^ANNA joy 0\.9\d$", said, re.MULTILINE)
    assert "missing.mp4" in said
    assert {p.suffix for p in tmp_path.iterdir()} == {".mp4", ".srt", ".json", ".eaf"}
    assert load_preset.__module__ == "erc_cli.api"


def test_the_citation_is_of_this_version() -> None:
    about = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert about["cff-version"] == "1.2.0"
    assert str(about["version"]) == __version__
    assert about["license"] == "Apache-2.0"
    paper = about["references"][0]
    assert paper["identifiers"][0]["value"] == "arXiv:2206.02187"
    assert paper["authors"][0]["family-names"] == "Chudasama"
