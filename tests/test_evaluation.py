"""Figures over seeds, their reports, and `erc evaluate` on a run of two seeds."""

from __future__ import annotations

import json
import re
import shutil
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import EMOTIONS, Erc

from erc_cli.errors import ErcError, UsageError
from erc_cli.evaluation import Answers, Means, answers_of, document_of, features_for, find_trained
from erc_cli.fakes import FakePlugin
from erc_cli.learning import Labelled, Source, Split
from erc_cli.main import erc as command
from erc_cli.pipeline import Model
from erc_cli.preset import Preset, Use
from erc_cli.registry import Registry, load_registry
from erc_cli.report_tables import Table, evaluation_tables, main_system
from erc_cli.reports import check_reports, latex, markdown, tex, write_reports
from erc_cli.types import Conversation, Features, Head, Modality, Status, Utterance

LABELS = ("calm", "loud")
TARGETS = np.array([0, 0, 1, 1, 0, 1])
DIALOGUES = np.array([0, 0, 0, 1, 1, 2])


def says(*classes: int, sure: float = 0.8) -> np.ndarray:
    rows = np.full((len(classes), 2), 1 - sure, np.float32)
    rows[np.arange(len(classes)), classes] = sure
    return rows


def split() -> Split:
    talks = tuple(Conversation((Utterance(0, 1, "x"),) * n) for n in (3, 2, 1))
    return Split("dev", LABELS, "0" * 64, talks, ((0, 0, 1), (1, 0), (1,)))


def run_of(audio: np.ndarray, text: np.ndarray, both: np.ndarray) -> Answers:
    systems = {"audio": audio, "text": text, "text+audio": both}
    heads = {"text (own head)": text, "audio (own head)": audio}
    prior = {"audio (own head)": np.array([0.5, 0.5], np.float32)}
    return Answers({**systems, **heads}, prior, TARGETS, DIALOGUES)


@pytest.fixture(scope="module")
def document() -> dict[str, object]:
    """Two seeds: the fusion has 5 and 6 of 6 right, text 4 and 4, audio always says calm."""
    calm = says(0, 0, 0, 0, 0, 0)
    first = run_of(calm, says(0, 1, 1, 0, 0, 1), says(0, 0, 1, 1, 1, 1))
    second = run_of(calm, says(1, 0, 1, 1, 1, 1), says(0, 0, 1, 1, 0, 1))
    made = document_of([first, second], split(), LABELS, {"name": "made"})
    return {"schema": "erc.evaluation/1", "preset": "p", **made, "seeds": [0, 1], "selected_on": "dev"}


def test_figures_are_means_and_deviations_over_seeds(document: Mapping[str, Mapping]) -> None:
    both = document["systems"]["text+audio"]
    each = [100 * 5 / 6, 100.0]
    assert both["accuracy"]["mean"] == pytest.approx(np.mean(each), abs=0.01)
    assert both["accuracy"]["std"] == pytest.approx(np.std(each, ddof=1), abs=0.01)
    assert both["accuracy"]["each"] == pytest.approx(each, abs=0.01)
    assert both["confusion"] == [[2.5, 0.5], [0.0, 3.0]]
    calm = both["per_class"]["calm"]
    assert calm["recall"] == pytest.approx((200 / 3 + 100) / 2, abs=0.01)
    assert calm["std"]["recall"] == pytest.approx(np.std([200 / 3, 100], ddof=1), abs=0.01)
    assert calm["support"] == 3
    low, high = calm["ci95"]["f1"]
    assert low <= calm["f1"] <= high
    assert document["systems"]["audio"]["accuracy"]["std"] == 0.0


def test_one_seed_keeps_whole_counts_and_has_no_deviation() -> None:
    one = run_of(says(0, 0, 0, 0, 0, 0), says(0, 1, 1, 0, 0, 1), says(0, 0, 1, 1, 1, 1))
    found = document_of([one], split(), LABELS, {"name": "made"})["systems"]["text+audio"]
    assert found["confusion"] == [[2, 1], [0, 3]]
    assert found["accuracy"]["std"] is None
    assert "each" not in found["accuracy"]
    assert found["per_class"]["calm"]["std"]["f1"] is None


def test_differences_are_paired_and_corrected(document: Mapping[str, Mapping]) -> None:
    differences = document["differences"]
    assert list(differences) == [
        "text+audio - text",
        "text+audio - text (own head)",
        "text+audio - audio",
        "text+audio - audio (own head)",
    ]
    gain = differences["text+audio - text"]
    systems = document["systems"]
    pairs = zip(
        systems["text+audio"]["weighted_f1"]["each"], systems["text"]["weighted_f1"]["each"], strict=True
    )
    each = [a - b for a, b in pairs]
    assert gain["weighted_f1"] == pytest.approx(np.mean(each), abs=0.02)
    assert gain["std"] == pytest.approx(np.std(each, ddof=1), abs=0.02)
    assert all(d["p"] <= d["p_holm"] <= 1 for d in differences.values())
    assert max(d["p_holm"] for d in differences.values()) > min(d["p"] for d in differences.values())


def test_calibration_is_also_told_in_the_population_that_a_head_speaks_of(
    document: Mapping[str, Mapping],
) -> None:
    head = document["systems"]["audio (own head)"]
    assert head["prior"] == {"calm": 0.5, "loud": 0.5}
    assert head["ece"] == pytest.approx(0.3, abs=1e-3)  # says 0.8, is right in half
    assert head["ece_at_prior"] == pytest.approx(0.3, abs=1e-3)  # the data is even already
    assert "ece_at_prior" not in document["systems"]["audio"]
    assert sum(head["reliability"]["share"]) == pytest.approx(1, abs=1e-3)


class Odd:
    """A fusion whose answers are no probabilities; it says nothing about priors."""

    def __init__(self, value: float) -> None:
        self.value = value

    def predict(self, conversation: Conversation, features: Mapping[Modality, Features]) -> np.ndarray:
        return np.full((len(conversation.utterances), 2), self.value, np.float32)

    def alone(self, conversation: Conversation, modality: Modality, features: Features) -> np.ndarray:
        return self.predict(conversation, {})


@pytest.mark.parametrize("value", [float("nan"), 0.7])
def test_answers_that_are_no_probabilities_are_told(value: float) -> None:
    data = labelled_text(split())
    with pytest.raises(ErcError, match="text: the fusion's answers are no probabilities"):
        answers_of(Model(LABELS, {}, Odd(value)), data, paired=True)


class Headed:
    """A branch of two features, its logits four times the second less the first, for the second class."""

    dim = 2
    head = Head(
        np.array([[0, 0], [-4, 4]], np.float32), np.zeros(2, np.float32), np.array([0.9, 0.1], np.float32)
    )


def test_a_branch_speaks_by_the_head_that_it_was_trained_with() -> None:
    """A fusion network's answer to one modality is another system."""
    values = np.array([[0, 1], [1, 0], [0, 0], [0, 1], [1, 0], [0, 0]], np.float32)
    present = np.array([True, True, True, True, True, False])
    status = tuple(Status.OK if here else Status.NO_TEXT for here in present)
    features = {Modality.TEXT: Features(values, present, status)}
    data = Labelled(TARGETS, DIALOGUES, split().conversations, features)
    model = Model(LABELS, {Modality.TEXT: Headed()}, Odd(0.5))  # type: ignore[dict-item]
    found = answers_of(model, data, paired=True).systems
    assert found["text"] == pytest.approx(np.full((6, 2), 0.5))
    sure = 1 / (1 + np.exp(-4))
    assert found["text (own head)"][:, 1] == pytest.approx([sure, 1 - sure, 0.5, sure, 1 - sure, 0.1])


def labelled_text(part: Split) -> Labelled:
    features = Features(np.ones((6, 2), np.float32), np.ones(6, bool), (Status.OK,) * 6)
    return Labelled(TARGETS, DIALOGUES, part.conversations, {Modality.TEXT: features})


def test_unlabelled_rows_are_answered_in_their_dialogue_and_not_scored() -> None:
    seen: list[int] = []

    class Counting(Odd):
        def predict(self, conversation: Conversation, features: Mapping[Modality, Features]) -> np.ndarray:
            seen.append(len(conversation.utterances))
            return super().predict(conversation, features)

    data = labelled_text(split())
    some = Labelled(np.where(TARGETS == 1, -1, TARGETS), DIALOGUES, data.conversations, data.features)
    answers = answers_of(Model(LABELS, {}, Counting(0.5)), some, paired=True)
    assert seen[:3] == [3, 2, 1]
    assert answers.targets.tolist() == [0, 0, 0]
    assert {len(p) for p in answers.systems.values()} == {3}


def test_media_are_read_through_the_store(tmp_path: Path) -> None:
    """Two utterances of a recording of 3 s: the fake voice features are their lengths in seconds."""
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes((np.sin(np.arange(48_000) / 20) * 9000).astype("<i2").tobytes())
    talk = Conversation((Utterance(0, 1, "a"), Utterance(1, 3, "bc")))
    sources = ((Source(tmp_path / "a.wav", 0, 1), Source(tmp_path / "a.wav", 1, 3)),)
    part = Split("dev", LABELS, "0" * 64, (talk,), ((0, 1),), sources=sources)
    registry = Registry.of(FakePlugin())
    uses = {Modality.TEXT: Use("fake-text"), Modality.AUDIO: Use("fake-audio")}
    preset = Preset("p", tmp_path / "p.yaml", "", LABELS, uses, Use("fake-mean"))
    means = Means(registry, "cpu", lambda progress: None, tmp_path / "store")
    model = means.load(preset)
    for _ in range(2):  # the second time from the store
        data = features_for(model, preset, part, means)
        assert data.features[Modality.AUDIO].values[:, 0] == pytest.approx([1, 2], abs=1e-3)
        assert data.features[Modality.TEXT].values[:, 0].tolist() == [1, 2]
        (tmp_path / "a.wav").touch()
    assert list((tmp_path / "store").rglob("*.safetensors"))
    # 1 s is class 1, 2 s is class 0, and so are one and two letters
    assert answers_of(model, data, paired=True).systems["text+audio"].argmax(axis=1).tolist() == [1, 0]


# --- reports -------------------------------------------------------------------------------


def test_tables_have_a_cell_for_every_column(document: Mapping[str, Mapping]) -> None:
    tables = evaluation_tables(document)
    assert [len({len(table.columns), *map(len, table.rows)}) for table in tables] == [1] * 4
    figures = {row[0]: row for row in tables[0].rows}
    f1 = document["systems"]["text"]["weighted_f1"]
    assert figures["text"][1] == f"{f1['mean']:.2f} ± {f1['std']:.2f}"
    assert tables[0].columns[-1] == "ECE at prior"
    assert main_system(document) == "text+audio"


def test_text_is_escaped_for_latex() -> None:
    assert tex("5 % & $x_1^2$ #{~}\\") == (
        r"5 \% \& \$x\_1\textasciicircum{}2\$ \#\{\textasciitilde{}\}\textbackslash{}"
    )
    assert tex("-0.51 to +0.89 ± 1") == r"$-$0.51 to +0.89 $\pm$ 1"
    assert tex("m2fnet-mini") == "m2fnet-mini"
    table = Table("a & b", ("x_1", "y"), (("[0]", "1 %"), ("*", "<2")), ("50 % note",))
    made = latex(table)
    assert made.count(r"\begin{") == made.count(r"\end{") == 2
    assert r"\toprule" in made and r"\midrule" in made and r"\bottomrule" in made
    assert r"{[}0] & 1 \% \\" in made
    assert r"{*} & \textless{}2 \\" in made
    assert r"\caption{a \& b}" in made
    body = re.sub(r"\\.", "", made)
    assert not set("%#^~") & set(body)


def test_text_is_escaped_for_markdown() -> None:
    made = markdown(Table("a|b", ("x", "y"), (("one|two", "*1*"),)))
    assert r"### a\|b" in made
    assert "| one\\|two | \\*1\\* |" in made
    assert "| --- | ---: |" in made


def test_reports_by_ending(document: Mapping[str, Mapping], tmp_path: Path) -> None:
    paths = [tmp_path / f"r{ending}" for ending in (".json", ".md", ".tex")]
    check_reports(paths, force=False)
    write_reports(document, paths, force=False)
    assert json.loads(paths[0].read_text())["systems"].keys() == document["systems"].keys()
    assert paths[1].read_text().count("\n### ") == 3
    assert paths[2].read_text().count(r"\begin{tabular}") == 4
    before = paths[1].read_text()
    with pytest.raises(UsageError, match="exists already and is kept"):
        check_reports(paths, force=False)
    with pytest.raises(UsageError, match="exists already and is kept"):
        write_reports({}, paths[1:2], force=False)
    assert paths[1].read_text() == before
    check_reports(paths, force=True)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.pdf"], "the ending says what to write"),
        (["a"], "the ending says what to write"),
        (["a.md", "./a.md"], "one file twice"),
        (["nowhere/a.md"], "no folder"),
    ],
)
def test_reports_that_cannot_be_are_told_first(names: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        check_reports([tmp_path / name for name in names], force=False)


def test_the_picture(document: Mapping[str, Mapping], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra report")
    from matplotlib.image import imread

    path = tmp_path / "r.png"
    write_reports({"evaluations": [document, document]}, [path], force=False)
    pixels = imread(path)
    assert pixels.shape[0] > 1000 and pixels.shape[1] > 1500
    from erc_cli.report_png import evaluation_figure

    axes = evaluation_figure([document]).axes
    numbers = {t.get_text() for t in axes[0].texts}
    assert numbers == {"2", "0", "3"}  # 2.5 and 0.5 are rounded to even
    line = next(one for one in axes[1].lines if one.get_label() == "accuracy")
    assert line.get_xdata() == pytest.approx([0.8], abs=1e-3)
    assert len(axes[2].patches) == 3 * len(LABELS)


def test_a_missing_matplotlib_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from erc_cli import reports

    monkeypatch.setattr(reports, "find_spec", lambda name: None)
    with pytest.raises(ErcError, match="needs matplotlib") as told:
        check_reports([tmp_path / "a.png"], force=False)
    assert "erc-cli[report]" in str(told.value.hint)


# --- the command on a run of seeds ---------------------------------------------------------


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory, erc: Erc, tiny_bert: Path, tiny_meld: Path) -> Path:
    """A run of two seeds, and a third that is not finished."""
    folder = tmp_path_factory.mktemp("seeds")
    text = {"data": ["meld"], "init": str(tiny_bert), "epochs": 2, "lr": 0.01, "batch": 8, "max_tokens": 60}
    recipe = {
        "summary": "tiny",
        "labels": list(EMOTIONS),
        "extractors": {"text": {"use": "minilm", "max_tokens": 60}, "audio": {"use": "prosody"}},
        "fusion": {"use": "late"},
        "train": {"text": text, "fusion": {"epochs": 20, "ensemble": 1, "balance": 0.5, "folds": 0}},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    out = folder / "run"
    done = erc("train", folder / "tiny.yaml", "--data", f"meld:{tiny_meld}", "--seeds", 2, "-o", out)
    assert done.returncode == 0, done.stderr
    (out / "seed-10").mkdir()
    return out


def typed(*arguments: object) -> None:
    command.main([str(a) for a in arguments], prog_name="erc", standalone_mode=False)


def test_evaluate_over_seeds(
    seeds: Path, tiny_meld: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", f"meld:{tiny_meld}", "--split", "dev"]
    table = tmp_path / "t.tex"
    typed("evaluate", seeds, *data, "--json", "-o", table)
    said = capfd.readouterr()
    document = json.loads(said.out)
    assert "seed-10" in said.err
    assert document["seeds"] == [0, 1]
    assert document["preset"] == "run"
    typed("evaluate", seeds / "seed-1", *data, "--json")
    second = json.loads(capfd.readouterr().out)
    assert second["seeds"] == [1]
    for name, system in second["systems"].items():
        assert document["systems"][name]["weighted_f1"]["each"][1] == system["weighted_f1"]["mean"]
    head = document["systems"]["audio (own head)"]
    assert sum(head["prior"].values()) == pytest.approx(1, abs=1e-3)
    assert head["ece_at_prior"] != head["ece"]
    assert f"{document['systems']['text']['weighted_f1']['mean']:.2f}" in table.read_text()
    with pytest.raises(UsageError, match="exists already and is kept"):
        typed("evaluate", seeds, *data, "-o", table)


def test_saved_figures_of_a_run_of_seeds(
    seeds: Path, tiny_meld: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    typed("evaluate", seeds, "--data", f"meld:{tiny_meld}", "--split", "dev", "--save")
    assert "±" in capfd.readouterr().out
    saved = json.loads((seeds / "metrics.json").read_text())["evaluations"][0]
    card = (seeds / "card.md").read_text()
    f1 = saved["systems"]["text+audio"]["weighted_f1"]
    assert f"{f1['mean']:.2f} ± {f1['std']:.2f}" in card
    assert "Mean ± deviation of 2 seeds" in card
    assert "### Confusion of" in card
    assert "| 95 %, " in card
    assert "text.safetensors" in card


def test_seeds_that_are_not_the_same_run_are_refused(seeds: Path, tmp_path: Path) -> None:
    registry = load_registry()
    other = tmp_path / "run"
    shutil.copytree(seeds, other)
    record = other / "seed-1" / "training.json"
    changed = json.loads(record.read_text())
    changed["config"]["train"]["fusion"]["epochs"] = 21
    record.write_text(json.dumps(changed))
    with pytest.raises(UsageError, match="seed-1 was trained with other settings than seed-0"):
        find_trained(str(other), registry)
    for seed in ("seed-0", "seed-1"):
        (other / seed / "preset.yaml").unlink()
    with pytest.raises(UsageError, match="none of its 3 seeds is finished"):
        find_trained(str(other), registry)


def test_result_files_state_the_priors(seeds: Path, tmp_path: Path, erc: Erc, root: Path) -> None:
    """`meta.priors` says what each modality's own probabilities are relative to, as the schema has it."""
    import jsonschema

    script = tmp_path / "t.srt"
    script.write_text("1\n00:00:00,000 --> 00:00:02,000\nAnna: i miss her so much\n")
    done = erc("predict", "--transcript", script, "--preset", seeds / "seed-0", "--drop", "audio", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads((root / "docs/result.schema.json").read_text()))
    assert list(document["meta"]["priors"]) == ["text"]
    assert sum(document["meta"]["priors"]["text"].values()) == pytest.approx(1, abs=1e-3)
