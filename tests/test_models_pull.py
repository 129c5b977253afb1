"""`erc models pull`, end to end against a real server: resume, wrong files, air gap, the hub's cache."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import ROOT, Erc
from filelock import FileLock
from modelkit import Site, entry, serving, tree, write_lock

from erc_cli import main
from erc_cli.errors import ErcError, UsageError
from erc_cli.model_store import find_model

BIG = random.Random(0).randbytes(700_000)
SMALL = b'{"hidden_size": 8}\n'
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in to continue</title></head><body></body></html>"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "store"
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "ERC_LOCK", "HF_ENDPOINT", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ERC_MODELS", str(folder))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr("erc_cli.model_fetch._PAUSE", 0.001)
    return folder


@pytest.fixture
def lock(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock with the model `tiny` (two files), which every command finds."""
    site.files |= {"/m/model.bin": BIG, "/m/config.json": SMALL}
    files = [
        entry(SMALL, f"{site.url}/m/config.json"),
        entry(BIG, f"{site.url}/m/model.bin", "sub/model.bin"),
    ]
    path = write_lock(tmp_path / "own.lock.yaml", tiny=files)
    monkeypatch.setenv("ERC_LOCK", str(path))
    return path


def _erc(*arguments: object) -> Result:
    return CliRunner().invoke(main.erc, ["models", *map(str, arguments)], standalone_mode=False)


def _done(*arguments: object) -> Result:
    answer = _erc(*arguments)
    if answer.exception is not None:
        raise answer.exception
    return answer


def _refused(*arguments: object) -> ErcError:
    answer = _erc(*arguments)
    assert isinstance(answer.exception, ErcError), (answer.exception, answer.output)
    return answer.exception


def test_pull_installs_all_files_and_nothing_else(site: Site, lock: Path, store: Path) -> None:
    facts = json.loads(_done("pull", "tiny", "--json", "-q").stdout)["models"][0]
    assert (facts["state"], facts["fetched"]) == ("installed", len(BIG) + len(SMALL))
    assert find_model("tiny") == store / "tiny" == Path(facts["path"])
    assert (store / "tiny/sub/model.bin").read_bytes() == BIG
    assert (store / "tiny/config.json").read_bytes() == SMALL
    left = tree(store)
    assert left == [
        ".drafts", ".parts", ".records", ".records/tiny.json", "tiny", "tiny/config.json", "tiny/sub",
        "tiny/sub/model.bin",
    ]  # fmt: skip
    site.asked.clear()
    assert "present" in _done("pull", "tiny").stdout
    assert site.asked == []
    assert "1 of 1 models are whole" in _done("verify").stdout


def test_licence_is_said_before_anything_is_loaded(site: Site, tmp_path: Path) -> None:
    one = {"summary": "x", "licence": "research", "non_commercial": True}
    path = write_lock(tmp_path / "l.yaml", nc={**one, "files": [entry(b"x", f"{site.url}/gone")]})
    answer = _erc("pull", "nc", "--lock", path)
    assert "nc: research [non-commercial]" in answer.stderr
    assert "[non-commercial]" in _done("list", "--lock", path).stdout


def test_a_cut_connection_goes_on_where_it_was(site: Site, lock: Path) -> None:
    site.cut_after = [10**6, 100_000, 300_000]
    assert _done("pull", "tiny").exit_code == 0
    ranges = [r for path, r in site.asked if path == "/m/model.bin"]
    assert ranges == ["", "bytes=100000-", "bytes=400000-"]


def test_a_pull_that_gave_up_is_resumed_by_the_next(site: Site, lock: Path, store: Path) -> None:
    site.cut_after = [10**6, 250_000, 0, 0, 0, 0]
    error = _refused("pull", "tiny")
    assert "at 250000 of 700000 bytes" in error.message
    assert "goes on where it was" in (error.hint or "")
    assert not (store / "tiny").exists()
    assert "35 % fetched" in _done("list").stdout
    assert len(json.loads(_done("verify", "--json").stdout)["unfinished"]) == 2
    site.asked.clear()
    assert json.loads(_done("pull", "tiny", "--json", "-q").stdout)["models"][0]["fetched"] == 450_000
    assert [r for _, r in site.asked] == ["bytes=250000-"]  # and the small file is not asked for again


def test_a_server_that_cannot_resume_begins_anew(site: Site, lock: Path, store: Path) -> None:
    site.resumes = False
    site.cut_after = [10**6, 250_000]
    assert _done("pull", "tiny").exit_code == 0
    assert (store / "tiny/sub/model.bin").read_bytes() == BIG


def test_a_part_that_is_too_long_or_wrong_is_not_kept(site: Site, lock: Path, store: Path) -> None:
    part = store / ".parts" / hashlib.sha256(BIG).hexdigest()
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * (len(BIG) + 1))
    assert _done("pull", "tiny").exit_code == 0
    _done("remove", "tiny", "--yes")
    part.write_bytes(b"x" * 1000)  # of the right name, of the wrong content
    error = _refused("pull", "tiny")
    assert "its SHA-256 is another" in error.message
    assert not part.exists()
    assert _done("pull", "tiny").exit_code == 0


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_instead_of_the_file(site: Site, lock: Path, store: Path, kind: str) -> None:
    site.files["/m/model.bin"] = PAGE + b" " * (len(BIG) - len(PAGE)) if "octet" in kind else PAGE
    site.kinds["/m/model.bin"] = kind
    error = _refused("pull", "tiny")
    assert 'a web page ("Sign in to continue")' in error.message
    assert "--from DIR" in (error.hint or "")
    assert not (store / "tiny").exists()
    assert [p.name for p in (store / ".parts").iterdir()] == [hashlib.sha256(SMALL).hexdigest()]


@pytest.mark.parametrize(
    ("code", "said"), [(401, "asks for an account"), (403, "denied"), (404, "no such file"), (410, "gone")]
)
def test_what_the_server_refuses(site: Site, lock: Path, code: int, said: str) -> None:
    site.status["/m/model.bin"] = code
    error = _refused("pull", "tiny")
    assert said in error.message
    assert str(code) in error.message


def test_a_server_out_of_order_is_asked_again(site: Site, lock: Path) -> None:
    site.status["/m/model.bin"] = 503
    assert "the server answers 503" in _refused("pull", "tiny").message
    assert len([1 for path, _ in site.asked if path == "/m/model.bin"]) == 4


def test_wrong_sizes_are_seen_before_loading(site: Site, lock: Path) -> None:
    site.files["/m/model.bin"] = BIG[:-1]
    assert "has 699999 bytes, the lock says 700000" in _refused("pull", "tiny").message


def test_a_git_lfs_pointer_is_named(site: Site, tmp_path: Path, store: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    site.files["/p"] = pointer
    path = write_lock(tmp_path / "l.yaml", p=[{**entry(pointer, f"{site.url}/p"), "sha256": "0" * 64}])
    assert "Git LFS pointer" in _refused("pull", "p", "--lock", path).message


def test_redirects_are_followed_within_http(site: Site, lock: Path) -> None:
    site.files["/elsewhere"] = site.files.pop("/m/model.bin")
    site.redirects["/m/model.bin"] = "/elsewhere"
    assert _done("pull", "tiny").exit_code == 0
    _done("remove", "tiny", "--yes")
    site.redirects["/m/model.bin"] = "ftp://127.0.0.1/model.bin"
    assert "which is not https" in _refused("pull", "tiny").message


def test_no_connection(tmp_path: Path) -> None:
    path = write_lock(tmp_path / "l.yaml", gone=[entry(b"x", "http://127.0.0.1:9/x")])
    assert "no connection" in _refused("pull", "gone", "--lock", path).message


def test_offline_says_what_would_be_loaded(
    site: Site, lock: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = _refused("pull", "tiny", "--offline")
    assert error.exit_code == 1
    assert f"{site.url}/m/model.bin  700000 bytes" in error.message
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE=0" in (_refused("pull", "tiny").hint or "")
    assert site.asked == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    _done("pull", "tiny")
    assert "present" in _done("pull", "tiny", "--offline").stdout


def test_the_hugging_face_cache_spares_the_network(site: Site, tmp_path: Path, store: Path) -> None:
    """Large files lie under their SHA-256, small ones under the commit, whatever the repo is called today."""
    commit = "ab" * 20
    site.files |= {f"/org/new/resolve/{commit}/{name}": c for name, c in (("w.bin", BIG), ("c.json", SMALL))}
    files = [
        {k: v for k, v in entry(c, "", name).items() if k != "url"}
        for name, c in (("w.bin", BIG), ("c.json", SMALL))
    ]
    one = {"summary": "x", "licence": "MIT", "repo": "org/new", "revision": commit, "files": files}
    path = write_lock(tmp_path / "l.yaml", hub=one)
    base = tmp_path / "hub/models--old"
    (base / "blobs").mkdir(parents=True)
    (base / f"snapshots/{commit}").mkdir(parents=True)
    blob = base / "blobs" / hashlib.sha256(BIG).hexdigest()
    blob.write_bytes(BIG)
    (base / f"snapshots/{commit}/w.bin").symlink_to(blob)
    (base / f"snapshots/{commit}/c.json").write_bytes(SMALL)
    facts = json.loads(_done("pull", "hub", "--lock", path, "--json", "-q", "--offline").stdout)["models"][0]
    assert (facts["fetched"], facts["found"]) == (0, len(BIG) + len(SMALL))
    installed = store / "hub/w.bin"
    assert installed.samefile(blob)
    assert not installed.is_symlink()
    _done("remove", "hub", "--yes")
    assert blob.read_bytes() == BIG
    blob.write_bytes(BIG[:-1] + b"x")  # of the right name, damaged
    assert "w.bin" in _refused("pull", "hub", "--lock", path, "--offline").message


def test_hugging_face_addresses_and_mirrors(
    site: Site, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "cd" * 20
    site.files[f"/org/name/resolve/{commit}/sub/w.bin"] = BIG
    files = [
        {"path": "w.bin", "file": "sub/w.bin", "size": len(BIG), "sha256": hashlib.sha256(BIG).hexdigest()}
    ]
    one = {"summary": "x", "licence": "MIT", "repo": "org/name", "revision": commit, "files": files}
    path = write_lock(tmp_path / "l.yaml", hub=one)
    monkeypatch.setenv("HF_ENDPOINT", site.url)
    _done("pull", "org/name", "--lock", path)
    assert find_model("org/name") == find_model(f"org/name@{commit[:7]}") == store / "hub"
    with pytest.raises(UsageError, match="org/name@main"):
        find_model("org/name@main")


# --- without network ------------------------------------------------------------------------


def test_pull_from_a_folder_finds_files_by_their_hash(
    site: Site, lock: Path, tmp_path: Path, store: Path
) -> None:
    stick = tmp_path / "stick"
    (stick / "deep/down").mkdir(parents=True)
    (stick / "deep/down/renamed").write_bytes(BIG)
    (stick / "other").write_bytes(bytes(len(BIG)))  # of the same size
    error = _refused("pull", "tiny", "--from", stick)
    assert "Missing, by their SHA-256" in error.message
    assert "config.json" in error.message
    assert "model.bin" not in error.message
    (stick / "c").write_bytes(SMALL)
    assert (
        json.loads(_done("pull", "tiny", "--from", stick, "--json", "-q").stdout)["models"][0]["fetched"] == 0
    )
    assert (store / "tiny/sub/model.bin").read_bytes() == BIG
    assert site.asked == []
    (store / "tiny/sub/model.bin").write_bytes(b"changed")  # a copy: what was brought stays as it is
    assert (stick / "deep/down/renamed").read_bytes() == BIG


def test_pull_from_an_archive_takes_only_what_the_lock_names(
    site: Site, lock: Path, tmp_path: Path, store: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/other.bin", bytes(len(BIG)))
        archive.writestr("x/any name.bin", BIG)
        archive.writestr("x/any.json", SMALL)
    _done("pull", "tiny", "--from", tmp_path / "all.zip")
    assert [p for p in tree(store) if p.startswith("tiny/")] == [
        "tiny/config.json",
        "tiny/sub",
        "tiny/sub/model.bin",
    ]
    assert list((store / ".parts").iterdir()) == []
    assert site.asked == []


def test_pull_from_a_climbing_archive(site: Site, lock: Path, tmp_path: Path, store: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("../../escaped.bin", BIG)
    assert "leads out" in _refused("pull", "tiny", "--from", tmp_path / "bad.zip").message
    assert not list(tmp_path.parent.glob("escaped.bin"))
    assert not (store / "tiny").exists()
    assert "No such file" in _refused("pull", "tiny", "--from", tmp_path / "gone").message


# --- archives as sources --------------------------------------------------------------------


def _zip(**members: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return held.getvalue()


def test_a_pack_is_unpacked_after_its_hash_is_checked(
    site: Site, tmp_path: Path, store: Path, lock: Path
) -> None:
    pack = _zip(det__a=b"a" * 10, b=b"b" * 20)
    site.files["/pack.zip"] = pack
    path = write_lock(tmp_path / "l.yaml", pack=[entry(pack, f"{site.url}/pack.zip", unpack=True)])
    _done("pull", "pack", "--lock", path)
    assert [p for p in tree(store) if p.startswith("pack")] == ["pack", "pack/b", "pack/det", "pack/det/a"]
    assert find_model("pack/det/a") == store / "pack/det/a"
    with pytest.raises(UsageError, match="has no file"):
        find_model("pack/det/none")
    (store / "pack/det/a").write_bytes(b"A" * 10)
    (store / "pack/more").write_bytes(b"")
    (store / "pack/b").unlink()
    answer = _erc("verify", "pack", "--json")
    row = json.loads(answer.stdout)["models"][0]
    assert row["problems"] == {"b": "missing", "det/a": "damaged", "more": "surplus"}
    with pytest.raises(UsageError, match="damaged"):
        find_model("pack")
    _done("pull", "pack", "--lock", path)
    assert (store / "pack/det/a").read_bytes() == b"a" * 10
    assert not (store / "pack/more").exists()


def test_a_pack_that_climbs_out_leaves_nothing(site: Site, tmp_path: Path, store: Path, lock: Path) -> None:
    pack = _zip(fine=b"a", **{"..__..__out": b"b"})
    site.files["/pack.zip"] = pack
    path = write_lock(tmp_path / "l.yaml", pack=[entry(pack, f"{site.url}/pack.zip", unpack=True)])
    error = _refused("pull", "pack", "--lock", path)
    assert "leads out" in error.message
    assert not [p for p in tree(store) if "pack" in p or "fine" in p]
    assert not list(tmp_path.rglob("out"))


def test_damage_is_mended_by_loading_only_what_is_damaged(site: Site, lock: Path, store: Path) -> None:
    _done("pull", "tiny")
    (store / "tiny/config.json").write_bytes(b"x" * len(SMALL))
    answer = _erc("verify")
    assert f"damaged: {store / 'tiny/config.json'}" in answer.stdout
    assert "Mend it: erc models pull tiny" in answer.stderr
    assert answer.return_value == 1
    site.asked.clear()
    _done("pull", "tiny")
    assert [path for path, _ in site.asked] == ["/m/config.json"]


def test_another_version_in_the_lock(site: Site, lock: Path, store: Path, tmp_path: Path) -> None:
    _done("pull", "tiny")
    write_lock(lock, tiny=[entry(SMALL, f"{site.url}/m/config.json")])
    with pytest.raises(UsageError, match="not the version of the lock"):
        find_model("tiny")
    assert "other version" in _done("list", "--json").stdout
    site.asked.clear()
    _done("pull", "tiny")
    assert tree(find_model("tiny")) == ["config.json"]
    assert not (store / "tiny/sub").exists()
    assert site.asked == []


def test_remove_asks(site: Site, lock: Path, store: Path) -> None:
    assert "no installed model" in _refused("remove", "tiny").message
    _done("pull", "tiny")
    assert "erc models remove tiny --yes" in (_refused("remove", "tiny").hint or "")
    assert "removed" in _done("remove", "tiny", "--yes").stdout
    assert tree(store) == [".drafts", ".parts", ".records"]


# --- processes ------------------------------------------------------------------------------


def test_two_pulls_at_once_wait_for_each_other(site: Site, lock: Path, store: Path) -> None:
    store.mkdir()
    hold = FileLock(store / ".busy")
    hold.acquire()
    answers: list[Result] = []
    thread = threading.Thread(target=lambda: answers.append(_done("pull", "tiny")))
    thread.start()
    time.sleep(0.3)
    assert not (store / "tiny").exists()
    hold.release()
    thread.join(20)
    assert "waiting for it" in answers[0].stderr
    assert find_model("tiny") == store / "tiny"


_LIMITED = """
import resource, runpy, sys
limit = int(sys.argv.pop(1))
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
runpy.run_module("erc_cli", run_name="__main__")
"""


def _start(*arguments: str, limit: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _LIMITED, str(limit), "models", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_no_space_left(site: Site, lock: Path, store: Path) -> None:
    """A limit on file sizes fails in the same place as a full disk does."""
    process = _start("pull", "tiny", limit=300_000)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert "could not be written" in said
    assert "ERC_MODELS=FOLDER" in said
    assert "Traceback" not in said
    assert not (store / "tiny").exists()
    assert _done("pull", "tiny").exit_code == 0
    ranges = [r for path, r in site.asked if path == "/m/model.bin"]
    assert ranges[-1].startswith("bytes=")  # what fitted was kept


def test_no_room_is_said_before_loading(site: Site, lock: Path, tmp_path: Path) -> None:
    huge = {"url": f"{site.url}/m/model.bin", "size": 10**12 * 7, "sha256": "0" * 64}
    path = write_lock(tmp_path / "l.yaml", huge=[huge])
    assert "are needed in" in _refused("pull", "huge", "--lock", path).message
    assert site.asked == []


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_leaves_only_what_can_be_resumed(site: Site, lock: Path, store: Path) -> None:
    go_on = threading.Event()

    class Slow(bytes):
        """Content of which the server sends the second half late."""

        def __getitem__(self, key: object) -> bytes:  # type: ignore[override]
            go_on.wait(20)
            return bytes(self).__getitem__(key)  # type: ignore[index]

    site.files["/m/model.bin"] = Slow(BIG)
    process = _start("pull", "tiny")
    deadline = time.monotonic() + 30
    while not any(path == "/m/model.bin" for path, _ in site.asked) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    go_on.set()
    assert process.returncode == 130, said
    assert "Interrupted" in said
    assert not (store / "tiny").exists()
    assert list((store / ".drafts").iterdir()) == []


def test_what_a_killed_pull_left_is_swept(site: Site, lock: Path, store: Path) -> None:
    (store / ".drafts/tiny-0123/sub").mkdir(parents=True)
    (store / ".drafts/tiny-0123/sub/half").write_bytes(b"x")
    _done("pull", "tiny")
    assert list((store / ".drafts").iterdir()) == []


def test_all_other_commands_forbid_libraries_the_network(erc: Erc, tmp_path: Path) -> None:
    """Seen in the process itself: a plugin that looks at its environment when it is imported."""
    (tmp_path / "erc_look.py").write_text(
        "import os\nraise ImportError('OFFLINE ' + os.environ['HF_HUB_OFFLINE'])\n"
    )
    info = tmp_path / "erc_look-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: erc-look\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[erc]\nlook = erc_look\n")
    answer = erc(
        "plugins",
        "list",
        PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "plugins"), str(tmp_path)]),
        COLUMNS="250",
    )
    assert "OFFLINE 1" in answer.stdout


def test_list_imports_nothing_heavy() -> None:
    code = """
import sys
sys.argv[1:] = ["models", "list", "--json"]
from erc_cli.main import main
try:
    main()
finally:
    heavy = {"torch", "numpy", "safetensors", "transformers"}
    sys.stderr.write(" ".join({m.partition(".")[0] for m in sys.modules} & heavy))
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert answer.stderr == ""
    assert len(json.loads(answer.stdout)["models"]) > 5
