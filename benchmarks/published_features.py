"""M2FNet's dialogue level on features that others published, cross-validated over dialogues.

    erc features import embeddings_text_base_val.pkl --data meld:data/MELD --split dev \\
        --without dia110_utt7 --modality text --as roberta -o FEATURES       (audio: wav2vec2, mel)
    python benchmarks/published_features.py meld:data/MELD FEATURES -o published

For MELD's dev split only another re-implementation's features are public. Its dialogues are dealt into
five folds; each is answered by networks that were fitted on three others and chosen on the fourth, and the
scores are of all answers together. Every seed deals anew. One network at a time is written to
OUT, so a run that was cut off goes on. Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from erc_cli.crossfit import deal, pick
from erc_cli.dataset import features_of, open_datasets, training_reader
from erc_cli.evaluation import fused
from erc_cli.extraction import branches_of, with_features
from erc_cli.files import atomic_write
from erc_cli.learning import FusionJob, Labelled, Split
from erc_cli.pipeline import Model
from erc_cli.preset import Use, build_extractor, build_fusion
from erc_cli.registry import Registry, load_registry
from erc_cli.report_tables import differences_table, figures_table
from erc_cli.reports import markdown
from erc_cli.scoring import Said, comparisons, make_board, system
from erc_cli.types import Modality

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

LABELS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
FOLDS = 5
TEXT, AUDIO = Modality.TEXT, Modality.AUDIO


@dataclass(frozen=True, slots=True)
class System:
    """A fusion and its training options, over features by modality and name."""

    fusion: str
    features: Mapping[Modality, str]
    options: Mapping[str, Any] = field(default_factory=dict)


#: the paper's N = 1 and m = 5; `by itself`: the same last layers on each utterance alone
BOTH = {TEXT: "roberta", AUDIO: "wav2vec2"}
SYSTEMS = {
    "text by itself": System("concat", {TEXT: "roberta"}, {"encoders": 0}),
    "text, dialogue encoder": System("concat", {TEXT: "roberta"}),
    "audio (wav2vec2), dialogue encoder": System("concat", {AUDIO: "wav2vec2"}),
    "audio (mel), dialogue encoder": System("concat", {AUDIO: "mel"}),
    "text + wav2vec2, concat": System("concat", BOTH),
    "text + wav2vec2, M2FNet m = 5": System("m2fnet", BOTH),
    "text + wav2vec2, M2FNet m = 1": System("m2fnet", BOTH, {"layers": 1}),
    "text + mel, concat": System("concat", {TEXT: "roberta", AUDIO: "mel"}),
    "text + mel, M2FNet m = 5": System("m2fnet", {TEXT: "roberta", AUDIO: "mel"}),
}
PAIRS = (
    ("text, dialogue encoder", "text by itself"),
    ("text + wav2vec2, concat", "text, dialogue encoder"),
    ("text + wav2vec2, M2FNet m = 5", "text, dialogue encoder"),
    ("text + wav2vec2, M2FNet m = 5", "text + wav2vec2, concat"),
    ("text + wav2vec2, M2FNet m = 1", "text + wav2vec2, concat"),
    ("text + mel, M2FNet m = 5", "text + mel, concat"),
)


@dataclass(frozen=True, slots=True)
class Bench:
    """The plugins, the split, and where networks and answers go."""

    registry: Registry
    split: Split
    store: Path
    out: Path

    def data(self, one: System, dialogues: Sequence[int]) -> Labelled:
        """Labels and features of some dialogues."""
        part = pick(self.split, dialogues)
        uses = {
            m: Use(f"imported-{m}", {"features": str(self.store.resolve()), "name": name})
            for m, name in one.features.items()
        }
        extractors = {m: build_extractor(use, self.registry) for m, use in uses.items()}
        filled = with_features(part, branches_of(uses, self.registry, extractors))
        found = features_of(filled, {m: (uses[m].name, e) for m, e in extractors.items()})
        if found is None:
            sys.exit(f"{self.store}: no features of this split")
        return found


def answers(bench: Bench, name: str, seed: int) -> FloatArray:
    """Probabilities [n, classes] of all rows, each from a network that never saw its dialogue."""
    path = bench.out / f"{name.replace(' ', '-')}-{seed}.npy"
    if path.exists():
        done: FloatArray = np.load(path)
        return done
    one = SYSTEMS[name]
    dealt = deal(len(bench.split.conversations), FOLDS, seed)
    sizes = [len(c.utterances) for c in bench.split.conversations]
    starts = np.cumsum([0, *sizes])
    said = np.zeros((int(starts[-1]), len(LABELS)), np.float32)
    for k, held_out in enumerate(dealt):
        chosen_on = dealt[(k + 1) % FOLDS]
        rest = sorted(set(range(len(sizes))) - set(held_out) - set(chosen_on))
        rows = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in held_out])
        parts = {"train": bench.data(one, rest), "dev": bench.data(one, chosen_on)}
        said[rows] = _fold(bench, one, parts, bench.data(one, held_out), seed)
    with atomic_write(path) as draft, draft.open("wb") as stream:
        np.save(stream, said)
    return said


def _fold(bench: Bench, one: System, parts: Mapping[str, Labelled], asked: Labelled, seed: int) -> FloatArray:
    """Fit on parts["train"], choose the epoch on parts["dev"], answer `asked`."""
    folder = bench.out / "fold"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    spec = bench.registry.fusion(one.fusion)
    if spec.train is None:
        sys.exit(f"{one.fusion} cannot be trained")

    def get(name: str, split: str, wanted: Collection[Modality]) -> Labelled:
        found = parts[split]
        features = {m: f for m, f in found.features.items() if m in wanted}
        return Labelled(found.targets, found.dialogues, found.conversations, features)

    modalities = frozenset(one.features)
    job = FusionJob(
        {"meld": modalities}, get, dict.fromkeys(modalities), LABELS, folder, seed, lambda progress: None
    )
    trained = spec.train(job, **one.options)
    fusion = build_fusion(Use(one.fusion, trained.options, folder), bench.registry)
    return fused(Model(LABELS, {}, fusion), asked, modalities)


def report(bench: Bench, seeds: Sequence[int], names: Sequence[str]) -> str:
    """Tables of what is done, and the figures as JSON in OUT."""
    targets = np.array([t for row in bench.split.targets for t in row])
    dialogues = np.repeat(np.arange(len(bench.split.targets)), [len(row) for row in bench.split.targets])
    said = {name: Said(tuple(answers(bench, name, seed) for seed in seeds)) for name in names}
    board = make_board(said, targets, dialogues, LABELS)
    pairs = [pair for pair in PAIRS if set(pair) <= set(names)]
    found = comparisons(board, pairs)
    document = {
        "schema": "erc.evaluation/1",
        "seeds": list(seeds),
        "data": {
            "name": "meld dev, five-fold",
            "split": "dev",
            "sha256": bench.split.sha256,
            "dialogues": len(bench.split.conversations),
            "utterances": len(targets),
        },
        "systems": {name: system(board, name) for name in names},
        "differences": {f"{a} - {b}": one for (a, b), one in zip(pairs, found, strict=True)},
    }
    with atomic_write(bench.out / "metrics.json", force=True) as draft:
        draft.write_text(json.dumps(document, indent=1) + "\n")
    return "\n\n".join(markdown(table(document)) for table in (figures_table, differences_table))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", help="meld:FOLDER")
    parser.add_argument("features", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("published"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    registry = load_registry()
    read = training_reader(open_datasets([given.data], registry), LABELS)
    bench = Bench(registry, read("meld", "dev"), given.features, given.out)
    for seed in range(given.seeds):
        for name in given.only:
            answers(bench, name, seed)
            print(f"seed {seed}: {name}", file=sys.stderr, flush=True)
    print(report(bench, range(given.seeds), given.only))


if __name__ == "__main__":
    main()
