"""Where models are found, what locks may say, and the mark `Model()` on an option of a plugin."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
import yaml
from click.testing import CliRunner, Result
from conftest import Erc
from modelkit import entry, tree, write_lock

from erc_cli import main, options
from erc_cli.errors import UsageError
from erc_cli.files import cache_folder
from erc_cli.hookspecs import hookimpl
from erc_cli.model_lock import LOCK, load_lock, read_lock, safe_path
from erc_cli.model_store import find_cached, find_model, hub_cache, store_folder
from erc_cli.options import Model
from erc_cli.preset import build_extractor, check, find_preset, read_preset, require_models
from erc_cli.preset_file import Use
from erc_cli.registry import Registry
from erc_cli.specs import ExtractorSpec, FusionSpec
from erc_cli.types import Modality

COMMIT = "ab" * 20


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ERC_LOCK", "HF_HUB_OFFLINE", "HUGGINGFACE_HUB_CACHE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ERC_MODELS", str(tmp_path / "store"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "store"


def _erc(*arguments: object) -> Result:
    return CliRunner().invoke(main.erc, list(map(str, arguments)), standalone_mode=False)


def _install(tmp_path: Path, name: str, *contents: bytes) -> Path:
    """A model pulled from a folder, as a user without network does."""
    stick = tmp_path / f"stick-{name}"
    stick.mkdir()
    for i, content in enumerate(contents):
        (stick / str(i)).write_bytes(content)
    files = [entry(content, f"https://x.org/{i}", f"f{i}.bin") for i, content in enumerate(contents)]
    lock = write_lock(tmp_path / f"{name}.yaml", **{name: files})
    answer = _erc("models", "pull", name, "--from", stick, "--lock", lock)
    if answer.exception is not None:
        raise answer.exception
    return lock


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


# --- the store ------------------------------------------------------------------------------


def test_where_the_store_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_folder() == tmp_path / "store"
    monkeypatch.delenv("ERC_MODELS")
    assert store_folder() == cache_folder() / "models"
    for name, value, expected in (
        ("XDG_CACHE_HOME", tmp_path / "x", tmp_path / "x/huggingface/hub"),
        ("HF_HOME", tmp_path / "h", tmp_path / "h/hub"),
        ("HF_HUB_CACHE", tmp_path / "c", tmp_path / "c"),
    ):
        if name != "HF_HUB_CACHE":
            monkeypatch.delenv("HF_HUB_CACHE", raising=False)
        monkeypatch.setenv(name, str(value))
        assert hub_cache() == expected


def test_a_model_is_its_folder(tmp_path: Path, store: Path) -> None:
    _install(tmp_path, "single", b"x")
    _install(tmp_path, "several", b"x", b"y")
    assert find_model("single") == store / "single"
    assert find_model("several") == store / "several"
    assert find_model("several/f1.bin") == store / "several/f1.bin"
    assert _erc("models", "path", "single").stdout.strip() == str(store / "single")
    listed = json.loads(_erc("models", "list", "--json").stdout)["models"]
    assert {m["name"]: m["state"] for m in listed if "not in the lock" in m["state"]} == {
        "several": "installed, not in the lock",
        "single": "installed, not in the lock",
    }


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("roberta-large", "is not on this computer", "Type: erc models pull roberta-large"),
        ("FacebookAI/roberta-large", "is not on this computer", "Type: erc models pull roberta-large"),
        ("roberta-lrge", "Did you mean 'roberta-large'", "erc models list"),
        ("org/other", "not in", "Type: hf download org/other"),
        ("org/other@v1", "not in", "Type: hf download org/other --revision v1"),
        ("../x", "no name of a model", "erc models list"),
        ("", "no name of a model", "erc models list"),
        (".records", "no name of a model", "erc models list"),
        ("a/../../etc/passwd", "no name of a model", "erc models list"),
    ],
)
def test_what_is_not_here(name: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_model(name)
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_damaged_record(tmp_path: Path, store: Path) -> None:
    lock = _install(tmp_path, "single", b"x")
    for content in (
        "{",
        "[]",
        '{"files": []}',
        '{"files": [{"path": "../x", "size": 1, "sha256": ""}]}',
        '{"files": 3}',
    ):
        (store / ".records/single.json").write_text(content)
        with pytest.raises(UsageError, match="is damaged"):
            find_model("single")
        assert json.loads(_erc("models", "verify", "--json").stdout)["models"][0]["ok"] is False
    assert (
        _erc("models", "pull", "single", "--from", tmp_path / "stick-single", "--lock", lock).exception
        is None
    )
    assert find_model("single/f0.bin").read_bytes() == b"x"


def test_verify_sees_what_erc_did_not_install(tmp_path: Path, store: Path) -> None:
    assert "0 of 0 models are whole" in _erc("models", "verify").stdout
    (store / "by-hand").mkdir(parents=True)
    answer = _erc("models", "verify", "--json")
    assert json.loads(answer.stdout)["models"][0]["problems"] == {".": "not installed by erc"}
    assert answer.return_value == 1
    assert isinstance(_erc("models", "verify", "nothing").exception, UsageError)


def test_the_hugging_face_cache_is_read(tmp_path: Path) -> None:
    base = tmp_path / "hub/models--org--name"
    for commit in (COMMIT, "cd" * 20):
        (base / "snapshots" / commit).mkdir(parents=True)
        (base / "snapshots" / commit / "config.json").write_text("{}")
    assert find_cached("org/name") is None  # two, and nobody says which
    (base / "refs").mkdir()
    (base / "refs/main").write_text(COMMIT)
    (base / "refs/v2").write_text("cd" * 20)
    assert find_model("org/name") == base / "snapshots" / COMMIT
    assert find_model("org/name@v2") == find_model("org/name@cdcd") == base / "snapshots" / ("cd" * 20)
    with pytest.raises(UsageError, match="hf download org/name --revision v3"):
        find_model("org/name@v3")
    legacy = tmp_path / "hub/models--bert-base-uncased/snapshots" / COMMIT
    legacy.mkdir(parents=True)
    (legacy / "config.json").write_text("{}")
    assert find_model("bert-base-uncased") == legacy


# --- the mark on options --------------------------------------------------------------------


def _build(*, weights: Annotated[Path, Model()], other: Annotated[Path, Model()] | None = None) -> Any:
    return SimpleNamespace(weights=weights, other=other)


def _fusion() -> Any:
    return SimpleNamespace()


class Plugin:
    """An extractor that needs a model, one that does not, and a fusion."""

    @hookimpl
    def erc_extractors(self) -> list[ExtractorSpec]:
        return [
            ExtractorSpec(name="heavy", modality=Modality.TEXT, summary="", build=_build),
            ExtractorSpec(name="light", modality=Modality.AUDIO, summary="", build=_fusion),
        ]

    @hookimpl
    def erc_fusions(self) -> list[FusionSpec]:
        return [FusionSpec(name="plain", summary="", build=_fusion)]


REGISTRY = Registry.of(Plugin())


def _preset(folder: Path, **text: str) -> Path:
    path = folder / "p.yaml"
    content = {
        "summary": "x",
        "labels": ["a", "b"],
        "extractors": {"text": {"use": "heavy", **text}, "audio": {"use": "light"}},
        "fusion": {"use": "plain"},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_model_option_takes_a_file_a_folder_or_a_name(tmp_path: Path, store: Path) -> None:
    _install(tmp_path, "single", b"x")
    (tmp_path / "local").mkdir()
    for value, expected in (
        ("local", tmp_path / "local"),
        ("single", store / "single"),
        (".", tmp_path),
    ):
        bound, wrong = options.bind(_build, {"weights": value, "other": value}, tmp_path)
        assert wrong == []
        assert bound == {"weights": expected, "other": expected}
    (tmp_path / "single").mkdir()  # what lies beside the preset comes first
    assert options.bind(_build, {"weights": "single"}, tmp_path)[0] == {"weights": tmp_path / "single"}
    made = options.schema(_build)
    assert (made["weights"].type_name, made["other"].type_name) == (
        "file, folder or model",
        "file, folder or model | none",
    )
    assert made["weights"].takes_file
    assert made["other"].takes_file


def test_a_preset_says_which_model_it_lacks(tmp_path: Path) -> None:
    """Like a library that is missing: a branch may be dropped, and who needs it is told what to type."""
    path = _preset(tmp_path, weights="roberta-large")
    preset, problems = read_preset(path, "p")
    assert preset is not None and problems == []
    found = check(preset, REGISTRY)
    assert [(p.kind, p.key) for p in found] == [("missing", "extractors.text.weights")]
    assert "erc models pull roberta-large, or leave it out: --drop text" in found[0].message
    assert find_preset(str(path), REGISTRY).name == "p"
    for act in (
        lambda: build_extractor(preset.extractors[Modality.TEXT], REGISTRY),
        lambda: require_models(preset, REGISTRY),
    ):
        with pytest.raises(
            UsageError, match="'heavy' lacks a model: weights: The model 'roberta-large'"
        ) as caught:
            act()
        assert caught.value.hint == "Type: erc models pull roberta-large"


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        ("roberta-lrge", "wrong", "Did you mean 'roberta-large'"),
        ("gone.safetensors", "file", "no such file"),
        ("/gone", "file", "no such file"),
        (3, "wrong", "expected file, folder or model, got 3"),
    ],
)
def test_what_is_no_model(tmp_path: Path, value: Any, kind: str, said: str) -> None:
    preset, _ = read_preset(_preset(tmp_path, weights=value), "p")
    assert preset is not None
    found = check(preset, REGISTRY)
    assert [p.kind for p in found] == [kind]
    assert said in found[0].message


def test_a_model_pulled_reaches_the_plugin(tmp_path: Path, store: Path) -> None:
    _install(tmp_path, "single", b"x")
    made: Any = build_extractor(Use("heavy", {"weights": "single"}, tmp_path), REGISTRY)
    assert made.weights == store / "single"


def test_commands_have_help_with_examples(erc: Erc) -> None:
    for words in ((), ("pull",), ("verify",), ("remove",), ("convert",), ("path",), ("list",), ("lock",)):
        answer = erc("models", *words, "--help")
        assert answer.returncode == 0
        assert "Examples" in answer.stdout
    assert "Did you mean" in erc("models", "pul").stderr
