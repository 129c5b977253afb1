"""`erc models pull` from a real server: resume, wrong files, the hub's cache, packs, and what is mended."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pullkit
import pytest
from modelkit import Site, entry, tree, write_lock
from pullkit import BIG, SMALL
from pullkit import done as _done
from pullkit import invoke as _erc
from pullkit import refused as _refused

from erc_cli.errors import UsageError
from erc_cli.model_store import find_model

PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in to continue</title></head><body></body></html>"
site, store, lock = pullkit.site, pullkit.store, pullkit.lock  # fixtures; the store is every test's


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
