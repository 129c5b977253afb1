"""What `erc models verify`, `remove` and `lock` look up: the state of the store, an entry from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from erc_cli.errors import UsageError, nearest
from erc_cli.model_files import problems_of, sha256
from erc_cli.model_lock import SCHEMA, safe_path
from erc_cli.model_store import PARTS, RECORDS, Held, held, store_folder

_HIDDEN = (".git", ".cache", "__pycache__")


def check_store(names: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """One row per installed model (those named, or all), and the parts of pulls that were cut off.

    A row: name, path, ok, problems by file, and the command that mends it.

    Raises:
        UsageError: a named model is not installed.
    """
    store = store_folder()
    rows = [_row(name) for name in (names or _there(store))]
    return rows, [str(path) for path in sorted((store / PARTS).glob("*"))]


def _there(store: Path) -> list[str]:
    """Names of models: their folders and their records, so that one without the other is found."""
    folders = [p.name for p in store.glob("*") if p.is_dir() and not p.name.startswith(".")]
    return sorted({*folders, *(p.stem for p in (store / RECORDS).glob("*.json"))})


def _row(name: str) -> dict[str, Any]:
    mend = f"erc models pull {name}"
    folder = store_folder() / name
    try:
        found = held(name)
    except UsageError as error:
        return _made(name, folder, {".": error.message.rstrip(".")}, mend)
    if found is None:
        if folder.is_dir() and safe_path(name):
            return _made(name, folder, {".": "not installed by erc"}, f"remove the folder {folder}")
        if (store_folder() / RECORDS / f"{name}.json").is_file() and safe_path(name):
            return _made(name, folder, {".": "missing"}, mend)
        must_hold(name)
        return _made(name, folder, {".": "missing"}, mend)
    problems = problems_of(found)
    surplus = bool(problems) and set(problems.values()) == {"surplus"}
    return _made(name, folder, problems, "" if not problems else "remove the file" if surplus else mend)


def _made(name: str, folder: Path, problems: dict[str, str], mend: str) -> dict[str, Any]:
    return {"name": name, "path": str(folder), "ok": not problems, "problems": problems, "mend": mend}


def must_hold(name: str) -> Held:
    """The installed model of that name; UsageError when there is none."""
    found = held(name)
    if found is None:
        known = _there(store_folder())
        listed = f"Installed: {', '.join(known)}" if known else "None is installed. See: erc models list"
        raise UsageError(f"There is no installed model {name!r}.{nearest(name, known)}", hint=listed)
    return found


def entry_of(name: str, folder: Path, about: Mapping[str, str]) -> str:
    """The lock entry of the files in a folder, as YAML text of a whole lock.

    `about`: repo and revision, or url (where the files are), licence, summary.

    Raises:
        UsageError: there is no such folder, or no word on where its files are from.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", hint="Name the folder with the model's files.")
    if not (about["repo"] and about["revision"]) and not about["url"]:
        raise UsageError(
            "Where are the files from?", hint="Say so: --repo ORG/NAME --revision COMMIT, or --url URL"
        )
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and not set(p.parts) & set(_HIDDEN)]
    if not paths:
        raise UsageError(f"{folder} holds no files.", hint="Name the folder with the model's files.")
    files: list[dict[str, Any]] = []
    for path in paths:
        inside = path.relative_to(folder).as_posix()
        where = {} if about["repo"] else {"url": f"{about['url'].rstrip('/')}/{inside}"}
        files.append({"path": inside, **where, "size": path.stat().st_size, "sha256": sha256(path)})
    origin = {key: about[key] for key in ("repo", "revision") if about["repo"]}
    entry = {"summary": about["summary"] or name, "licence": about["licence"], **origin, "files": files}
    return yaml.safe_dump({"schema": SCHEMA, "models": {name: entry}}, sort_keys=False, allow_unicode=True)
