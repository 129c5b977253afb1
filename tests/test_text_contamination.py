"""Encoders that learnt from what erc evaluates on: recognised, marked all the way, and refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from conftest import EMOTIONS, ROOT, Erc
from textkit import write_model

from erc_cli.contamination import KNOWN, MARKER, Mark, marks_in, marks_of, refuse, spoilt, told
from erc_cli.errors import UsageError
from erc_cli.preset import find_preset, override
from erc_cli.registry import load_registry
from erc_cli.weights import read_weights
from erc_text_minilm.network import load, save
from erc_text_minilm.pretrained import pretrained

NAMES = [mark.encoder for mark in KNOWN]


@pytest.fixture(scope="module")
def emoberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `hf download` makes it for that name, with a tiny random network in it."""
    return write_model(tmp_path_factory.mktemp("hub") / "emoberta-base", "roberta")


def test_known_encoders_and_where_that_is_known_from() -> None:
    assert set(NAMES) == {
        "tae898/emoberta-base",
        "tae898/emoberta-large",
        "j-hartmann/emotion-english-distilroberta-base",
        "j-hartmann/emotion-english-roberta-large",
        "speechbrain/emotion-recognition-wav2vec2-IEMOCAP",
    }
    page = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    for mark in KNOWN:
        assert {"meld", "iemocap"} & set(mark.data)
        assert mark.encoder in page
        assert mark.source in page


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_recognised_however_it_comes(name: str, tmp_path: Path) -> None:
    org, _, tail = name.partition("/")
    snapshot = tmp_path / f"models--{org}--{tail}" / "snapshots" / "0123456789"
    snapshot.mkdir(parents=True)
    places = [name, f"{name}@main", f"/home/me/{tail}", f"C:\\models\\{tail}", snapshot]
    assert [[mark.encoder for mark in marks_of(place)] for place in places] == [[name]] * len(places)


@pytest.mark.parametrize("name", ["FacebookAI/roberta-large", "me/emoberta-basement", "roberta-base", "x"])
def test_others_are_not(name: str) -> None:
    assert marks_of(name) == ()


def test_what_a_model_was_made_from_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_name_or_path": NAMES[2]}))
    assert [mark.encoder for mark in marks_of(tmp_path)] == [NAMES[2]]
    (tmp_path / "config.json").write_text("{")
    assert marks_of(tmp_path) == ()


def test_the_sound_of_a_preset_is_looked_at_too(tmp_path: Path) -> None:
    folder = tmp_path / "emotion-recognition-wav2vec2-IEMOCAP"
    folder.mkdir()
    registry = load_registry()
    settings = ["audio.use=speechbrain", f"audio.weights={folder}"]
    found = override(find_preset("default", registry, recipe=True), settings, registry)
    (mark,) = marks_in(found, registry)
    assert (mark.stage, mark.data) == ("audio", ("iemocap",))


CARDS = {
    "---\nlicense: mit\nbase_model: tae898/emoberta-large\n---\n# Mine\n": NAMES[1],
    "---\nbase_model:\n- roberta-base\n- j-hartmann/emotion-english-roberta-large\n---\n": NAMES[3],
    "---\nmodel-index:\n- name: emoberta-base\n  results: []\n---\n": NAMES[0],
    '---\nlanguage: "en"\n---\n\n# Emotion English DistilRoBERTa-base\n\n# Description\n': NAMES[2],
    "# Emotion English DistilRoBERTa-base\n": NAMES[2],
}


@pytest.mark.parametrize("card", CARDS)
def test_a_renamed_copy_is_recognised_by_its_card(card: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "README.md").write_text(card, encoding="utf-8")
    assert [mark.encoder for mark in marks_of(folder)] == [CARDS[card]]


def test_a_card_s_data_sets_mark_a_model_that_erc_does_not_know(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--someone--friends-bert" / "snapshots" / "0123456789"
    snapshot.mkdir(parents=True)
    names = ["declare-lab/MELD", "x/IEMOCAP_text", "go_emotions", "meldung", 7]
    (snapshot / "README.md").write_text(f"---\n{yaml.safe_dump({'datasets': names})}---\n", encoding="utf-8")
    (mark,) = marks_of(snapshot)
    assert (mark.encoder, mark.data) == ("someone/friends-bert", ("meld", "iemocap"))
    assert "model card" in mark.known
    with pytest.raises(UsageError, match="someone/friends-bert has learnt from it"):
        refuse([mark], ["meld"], allow=False)


@pytest.mark.parametrize(
    "card",
    [
        *("", "# RoBERTa", "---\n", "---\n[1, 2]\n---\n", "---\na: [\n---\n", "---\ndatasets: 3\n---\n"),
        *("---\nmodel-index: [1]\n---\n", "---\ndatasets: [go_emotions, wikipedia]\n---\n# BERT\n"),
        "# Mine\nBetter than j-hartmann/emotion-english-distilroberta-base, MELD: 60.\n",
    ],
)
def test_other_cards_say_nothing(card: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    assert marks_of(tmp_path) == ()


def test_labels_alone_say_nothing(tmp_path: Path) -> None:
    """Seven emotions are the labels of many data sets, and of models that never saw MELD."""
    (tmp_path / "config.json").write_text(json.dumps({"id2label": dict(enumerate(sorted(EMOTIONS)))}))
    assert marks_of(tmp_path) == ()


def test_weights_are_recognised_by_their_hash(tmp_path: Path) -> None:
    import hashlib

    folder = write_model(tmp_path / "mine", "roberta")
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert marks_of(folder) == ()
    assert marks_of(folder, [replace(KNOWN[0], sha256=(sha256,))])[0].encoder == NAMES[0]
    assert marks_of(folder, [replace(KNOWN[0], sha256=("0" * 64,))]) == ()


def test_a_model_of_one_s_own_can_be_marked(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text('{"data": ["iemocap"]}')
    (mark,) = marks_of(tmp_path)
    assert mark.data == ("iemocap",)
    assert spoilt([mark], "iemocap")
    assert not spoilt([mark], "meld")


def test_damaged_weights_are_somebody_else_s_matter(tmp_path: Path) -> None:
    for content in (b"", b"\xff" * 8, b"\x08\0\0\0\0\0\0\0[1, 2]  ", b"\x05\0\0\0\0\0\0\0{"):
        (tmp_path / "text.safetensors").write_bytes(content)
        assert marks_of(tmp_path) == ()


def test_the_same_series_is_the_same_data() -> None:
    mark = replace(KNOWN[0], stage="text")
    for name in ("meld", "emorynlp", "iemocap"):
        with pytest.raises(UsageError, match=r"text encoder tae898/emoberta-base has learnt from"):
            refuse([mark], [name], allow=False)
        refuse([mark], [name], allow=True)
    with pytest.raises(UsageError, match="from meld, of the same TV series") as caught:
        refuse([mark], ["ravdess", "emorynlp"], allow=False)
    assert "--allow-contaminated" in str(caught.value.hint)
    refuse([mark], ["ravdess", "manifest"], allow=False)
    assert told([mark]).startswith("Contaminated: ")
    assert told([]) == ""


def test_weights_carry_the_mark_on(emoberta: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = pretrained(emoberta, EMOTIONS, "roberta")
    path = tmp_path / "run" / "text.safetensors"
    path.parent.mkdir()
    save(model, torch.full((7,), 1 / 7).numpy(), path)
    assert [mark.encoder for mark in load(path, "roberta")[0].marks] == [NAMES[0]]
    shutil.copy(emoberta / "tokenizer.json", path.parent)
    again = pretrained(path.parent, EMOTIONS, "roberta")  # a run that begins from that run
    assert [mark.encoder for mark in again.marks] == [NAMES[0]]
    (mark,) = marks_of(path)
    assert mark == Mark(NAMES[0], ("meld", "iemocap"), KNOWN[0].known, KNOWN[0].source)
    assert marks_of(path.parent) == (mark,)


def test_the_shipped_weights_have_no_mark() -> None:
    path = ROOT / "presets" / "default" / "text.safetensors"
    assert marks_of(path) == ()
    assert "contaminated" not in read_weights(path, "erc.minilm/1").metadata
    registry = load_registry()
    for name in ("default", "m2fnet-meld", "m2fnet-mini-meld"):
        assert marks_in(find_preset(name, registry, recipe=True), registry, recipe=True) == ()


def test_from_training_to_evaluation(emoberta: Path, tiny_meld: Path, tmp_path: Path, erc: Erc) -> None:
    """Training tells it, figures are refused until the user knows, and the mark stays in all results."""
    recipe = tmp_path / "tiny.yaml"
    content = {
        "summary": "tiny",
        "labels": list(EMOTIONS),
        "extractors": {"text": {"use": "roberta", "max_tokens": 60}},
        "fusion": {"use": "late"},
        "train": {
            "text": {"data": ["meld"], "init": str(emoberta), "epochs": 1, "batch": 16, "max_tokens": 60},
            "fusion": {"epochs": 2, "ensemble": 1},
        },
    }
    recipe.write_text(yaml.safe_dump(content))
    run, data = tmp_path / "run", f"meld:{tiny_meld}"
    done = erc("train", recipe, "--data", data, "-o", run)
    assert done.returncode == 0, done.stderr
    assert "Contaminated: " in done.stderr
    record = json.loads((run / "training.json").read_text())
    assert record["contaminated"][0]["encoder"] == NAMES[0]
    card = (run / "card.md").read_text()
    assert "## Contaminated" in card
    assert KNOWN[0].source in card

    moved = tmp_path / "trained"  # the name of the encoder is nowhere in its path
    shutil.copytree(run, moved)
    score = ("evaluate", moved, "--data", data, "--split", "dev", "--json")
    done = erc(*score)
    assert done.returncode == 2
    assert "may know the answers" in done.stderr
    assert "--allow-contaminated" in done.stderr
    report = tmp_path / "table.md"
    done = erc(*score, "--allow-contaminated", "-o", report)
    assert done.returncode == 0, done.stderr
    assert "Contaminated: " in done.stderr
    (mark,) = json.loads(done.stdout)["contaminated"]
    assert (mark["stage"], mark["encoder"], mark["data"]) == ("text", NAMES[0], ["meld", "iemocap"])
    assert "Contaminated: " in report.read_text()

    done = erc("predict", "-t", ROOT / "examples" / "conversation.srt", "-p", moved, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["meta"]["contaminated"][0]["encoder"] == NAMES[0]


def test_ablation_is_refused_before_it_trains(
    emoberta: Path, tiny_meld: Path, tmp_path: Path, erc: Erc
) -> None:
    begin = ("--set", f"train.text.init={emoberta}", "--set", "text.use=roberta")
    arguments = ("--data", f"meld:{tiny_meld}", "--retrain", "-o", tmp_path / "runs")
    done = erc("ablate", "m2fnet-mini-meld", *arguments, *begin)
    assert done.returncode == 2, done.stderr
    assert "may know the answers" in done.stderr
    assert not (tmp_path / "runs").exists()
