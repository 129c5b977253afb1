"""The lock of models: what ours says, what those of others may say, and how one is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import modelkit
import pytest
import yaml
from modelkit import COMMIT, entry, tree, write_lock
from modelkit import invoke as _erc

from erc_cli import options
from erc_cli.errors import UsageError
from erc_cli.model_lock import LOCK, load_lock, read_lock, safe_path
from erc_cli.model_store import find_model

store = modelkit.store  # a fixture for every test


# --- the lock of the project ----------------------------------------------------------------


def test_every_entry_of_ours_is_pinned_and_says_its_licence() -> None:
    models = load_lock()
    assert {"roberta-large", "wavlm-base-plus", "ecapa-voxceleb", "buffalo_l", "yunet"} <= set(models)
    for model in models.values():
        assert model.licence and model.summary and model.home.startswith("https://")
        for file in model.files:
            assert file.url.startswith("https://"), file.url
            assert "/main/" not in file.url and "/master/" not in file.url, "not pinned"
            pickled = file.name.endswith((".bin", ".ckpt", ".pt", ".pth"))
            assert pickled == file.convert, f"{file.url}: a pickle is converted, nothing else is"
    assert models["buffalo_l"].non_commercial
    assert "[non-commercial]" in models["buffalo_l"].terms


def test_the_lock_is_where_the_wheel_takes_it_from() -> None:
    assert LOCK.parent == Path(options.__file__).parent


@pytest.mark.parametrize(
    ("model", "file", "under"),
    [
        ("yunet", "yunet_n_dynamic.onnx", "models/yunet/yunet_n_dynamic.onnx"),
        ("silero-vad", "silero_vad.onnx", "models/silero_vad/silero_vad.onnx"),
        ("roberta-large", "merges.txt", "models/roberta_bpe/vocab.bpe"),
    ],
)
def test_hashes_that_can_be_computed_here(shared: Path, model: str, file: str, under: str) -> None:
    import hashlib

    path = shared / "data" / under
    if not path.exists():
        pytest.skip(f"needs {under} of the data folder")
    locked = next(f for f in load_lock()[model].files if f.path == file)
    assert (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()) == (
        locked.size,
        locked.sha256,
    )


@pytest.mark.parametrize(
    ("model", "sizes"), [("roberta-large", (1024, 4096, 16, 24)), ("roberta-base", (768, 3072, 12, 12))]
)
def test_configs_of_roberta_are_those_of_the_paper(model: str, sizes: tuple[int, ...]) -> None:
    """The locked hash is that of the text with the published numbers: table 9 of RoBERTa's paper."""
    import hashlib

    hidden, inner, heads, layers = sizes
    config = {
        "architectures": ["RobertaForMaskedLM"], "attention_probs_dropout_prob": 0.1, "bos_token_id": 0,
        "eos_token_id": 2, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": hidden,
        "initializer_range": 0.02, "intermediate_size": inner, "layer_norm_eps": 1e-05,
        "max_position_embeddings": 514, "model_type": "roberta", "num_attention_heads": heads,
        "num_hidden_layers": layers, "pad_token_id": 1, "type_vocab_size": 1, "vocab_size": 50265,
    }  # fmt: skip
    text = (json.dumps(config, indent=2) + "\n").encode()
    locked = next(f for f in load_lock()[model].files if f.path == "config.json")
    assert (len(text), hashlib.sha256(text).hexdigest()) == (locked.size, locked.sha256)


# --- locks of others ------------------------------------------------------------------------


def _lock_text(**changes: Any) -> dict[str, Any]:
    file = {"url": "https://x.org/a.bin", "size": 3, "sha256": "0" * 64, **changes}
    return {"schema": "erc.models/1", "models": {"m": {"summary": "s", "licence": "l", "files": [file]}}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"path": "../out.bin"}, "'../out.bin' is not safe"),
        ({"path": "/etc/passwd"}, "is not safe"),
        ({"path": "a\\b"}, "is not safe"),
        ({"sha256": "abc"}, "64 hexadecimal digits"),
        ({"sha256": "A" * 64}, "64 hexadecimal digits"),
        ({"size": -1}, "number of bytes"),
        ({"size": "3"}, "number of bytes"),
        ({"size": True}, "number of bytes"),
        ({"url": "file:///etc/passwd"}, "https"),
        ({"url": "ftp://x.org/a"}, "https"),
        ({"convert": True}, "ends in .safetensors"),
        ({"convert": True, "unpack": True, "path": "a.safetensors"}, "exclude each other"),
        ({"unpack": "yes"}, "true or false"),
        ({"sha265": "x"}, "Did you mean 'sha256'"),
    ],
)
def test_what_a_lock_must_not_say(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = tmp_path / "l.yaml"
    path.write_text(yaml.safe_dump(_lock_text(**changes)))
    with pytest.raises(UsageError, match="m, file 1") as caught:
        read_lock(path)
    assert said in caught.value.message
    assert "docs/weights.md" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("schema: erc.models/1\nmodels: !!python/object/apply:os.system [touch it-ran]\n", "not plain YAML"),
        ("a: [", "not plain YAML"),
        ("just text", "no lock of models"),
        ("schema: erc.models/2\nmodels: {}\n", "no lock of models"),
        ("schema: erc.models/1\nmodels: {../x: {}}\n", "a name has small letters"),
        (
            "schema: erc.models/1\nmodels: {m: {summary: s, licence: l, files: []}}\n",
            "expected a list of files",
        ),
        ("schema: erc.models/1\nmodels: {m: 3}\n", "expected summary, licence and files"),
        (
            "schema: erc.models/1\nmodels: {m: {repo: a/b, revision: main, files: [{path: x}]}}\n",
            "40 hexadecimal",
        ),
    ],
)
def test_what_is_no_lock(tmp_path: Path, content: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "l.yaml"
    path.write_text(content)
    answer = _erc("models", "list", "--lock", path)
    assert isinstance(answer.exception, UsageError)
    assert said in answer.exception.message
    assert not (tmp_path / "it-ran").exists()


def test_two_files_of_one_path(tmp_path: Path) -> None:
    path = write_lock(
        tmp_path / "l.yaml", m=[entry(b"a", "https://x.org/a", "A"), entry(b"b", "https://x.org/b", "a")]
    )
    with pytest.raises(UsageError, match="two files have the same path"):
        read_lock(path)


def test_an_own_lock_adds_and_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lock(
        tmp_path / "l.yaml", mine=[entry(b"a", "https://x.org/a")], yunet=[entry(b"b", "https://x.org/b")]
    )
    assert "mine" not in load_lock()
    monkeypatch.setenv("ERC_LOCK", str(path))
    models = load_lock()
    assert models["mine"].files[0].path == "a"
    assert models["yunet"].files[0].url == "https://x.org/b"
    assert "roberta-large" in models
    monkeypatch.setenv("ERC_LOCK", str(tmp_path / "gone.yaml"))
    with pytest.raises(UsageError, match="cannot be read"):
        load_lock()


def test_a_lock_is_written_from_files_at_hand(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/w.bin").write_bytes(b"www")
    (folder / "c.json").write_bytes(b"{}")
    for where, address in (
        (
            ("--repo", "me/mine", "--revision", COMMIT),
            f"https://huggingface.co/me/mine/resolve/{COMMIT}/sub/w.bin",
        ),
        (("--url", "https://x.org/m/"), "https://x.org/m/sub/w.bin"),
    ):
        answer = _erc("models", "lock", "mine", folder, *where, "--licence", "MIT")
        (tmp_path / "l.yaml").write_text(answer.stdout)
        model = read_lock(tmp_path / "l.yaml")["mine"]
        assert [f.path for f in model.files] == ["c.json", "sub/w.bin"]
        assert model.files[1].url == address
    pulled = _erc("models", "pull", "mine", "--from", folder, "--lock", tmp_path / "l.yaml")
    assert pulled.exception is None, pulled.exception
    assert tree(find_model("mine")) == ["c.json", "sub", "sub/w.bin"]
    assert "--repo" in str(_erc("models", "lock", "mine", folder).exception)
    assert "no folder" in str(_erc("models", "lock", "mine", tmp_path / "no", "--url", "x").exception)


def test_safe_paths() -> None:
    assert all(map(safe_path, ("a", "a/b.c", "a b", "ä")))
    bad = (
        "",
        "/a",
        "a/",
        "a//b",
        "..",
        "a/../b",
        "./a",
        "C:a",
        "a\\b",
        "a\n",
        "nul\x00",
        "a.",
        "a /b",
        "x" * 500,
    )
    assert [p for p in bad if safe_path(p)] == []
