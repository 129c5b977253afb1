"""`erc ablate --data`: the variants of a preset scored on one split, each against the reference."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from erc_cli.ablation_plan import Plan, Variant, name_of, only, setting_of
from erc_cli.dataset import labelled
from erc_cli.errors import UsageError
from erc_cli.evaluation import Answers, Means, check_features, fused
from erc_cli.learning import Labelled, Progress, Split
from erc_cli.paper import SOURCE, printed
from erc_cli.pipeline import Model
from erc_cli.preset import Preset, Use
from erc_cli.registry import Registry
from erc_cli.scoring import Board, Said, comparisons, make_board, system
from erc_cli.types import Features, Modality

if TYPE_CHECKING:
    from erc_cli.types import FloatArray

SCHEMA = "erc.ablation.data/1"


@dataclass(frozen=True, slots=True)
class Memory:
    """Features of one split by branch: variants that share a branch share its features."""

    split: Split
    means: Means
    kept: dict[str, Features | None] = field(default_factory=dict)

    def features(self, model: Model, preset: Preset) -> Labelled:
        """As `evaluation.features_for`, each branch computed once."""
        keys = {m: _branch_key(use) for m, use in preset.extractors.items()}
        fresh = {m: e for m, e in model.extractors.items() if keys[m] not in self.kept}
        made = self.means.features(replace(model, extractors=fresh), preset, self.split) if fresh else {}
        self.kept.update({keys[m]: made.get(m) for m in fresh})
        known = {m: self.kept[key] for m, key in keys.items()}
        data = labelled(self.split, {m: f for m, f in known.items() if f is not None})
        check_features(data, self.split, list(preset.extractors))
        return data


def _branch_key(use: Use) -> str:
    """Equal for branches that give equal features: the same plugin, options and bytes of files."""
    parts = {}
    for name, value in use.options.items():
        path = use.folder / value if isinstance(value, str) and value else None
        file = path is not None and path.is_file()
        parts[name] = hashlib.sha256(path.read_bytes()).hexdigest() if file and path else value
    return json.dumps([use.name, parts], sort_keys=True, default=str)


def score_variants(presets: Mapping[str, Sequence[Preset]], split: Split, means: Means) -> Board:
    """Every variant's fused answers on the split, from what the split has for it."""
    memory = Memory(split, means)
    said: dict[str, Said] = {}
    for done, (name, seeds) in enumerate(presets.items()):
        means.report(Progress("scores", done, len(presets), name))
        said[name] = Said(tuple(_answer(preset, memory) for preset in seeds))
    means.report(Progress("scores", len(presets), len(presets), ""))
    rows = labelled(split, {})
    labels = next(iter(presets.values()))[0].labels
    return make_board(said, rows.targets[rows.known], rows.dialogues[rows.known], labels)


def _answer(preset: Preset, memory: Memory) -> FloatArray:
    model = memory.means.load(preset)
    data = memory.features(model, preset)
    probabilities: FloatArray = fused(model, data, frozenset(data.features))[data.known]
    return probabilities


def left_out(plan: Plan, runs: Sequence[Answers], labels: Sequence[str]) -> tuple[Plan, Board, list[str]]:
    """Variants that only leave modalities out, from answers to every subset.

    What the data has nothing for takes no part: the plan is reduced to the rest, and a note says so.

    Raises:
        UsageError: too little is left to compare.
    """
    heads = [name for name in runs[0].systems if name.endswith(" (own head)")]
    there = frozenset(Modality(name.removesuffix(" (own head)")) for name in heads)
    variants: dict[str, Variant] = {}
    for variant in plan.variants:
        preset = only(variant.preset, there)
        name = name_of(frozenset(preset.extractors))
        if name in runs[0].systems:
            variants.setdefault(name, replace(variant, name=name, preset=preset))
    if len(variants) < 2:
        raise UsageError(
            f"Nothing to compare: the data only has {', '.join(sorted(there))}.",
            hint="Name a data set that has more of what the preset looks at.",
        )
    said = {name: Said(tuple(run.systems[name] for run in runs)) for name in variants}
    board = make_board(said, runs[0].targets, runs[0].dialogues, labels)
    lacking = [m for m in plan.variants[0].preset.extractors if m not in there]
    notes = [f"The data has nothing for {', '.join(lacking)}: left out of all variants."] if lacking else []
    return Plan(tuple(variants.values()), next(iter(variants))), board, notes


def variants_document(
    plan: Plan, board: Board, about: Mapping[str, Any], registry: Registry
) -> dict[str, Any]:
    """`about` (its `data` and `seeds` at least) and what compares: every variant against the reference."""
    others = [one.name for one in plan.variants if one.name != plan.reference]
    found = comparisons(board, [(name, plan.reference) for name in others])
    differences = dict(zip(others, found, strict=True))
    data = about["data"]
    return {
        **about,
        "reference": plan.reference,
        "comparisons": len(others),
        "variants": [
            {
                "name": one.name,
                "modalities": list(map(str, one.preset.extractors)),
                "fusion": one.preset.fusion.name,
                "settings": list(one.settings),
                "without": list(one.without),
                **system(board, one.name),
                "difference": differences.get(one.name),
                "paper": _paper(data["name"], data["split"], len(board.targets), one.preset, registry),
            }
            for one in plan.variants
        ],
    }


def _paper(
    data: str, split: str, utterances: int, preset: Preset, registry: Registry
) -> dict[str, Any] | None:
    figure = printed(data, split, utterances, setting_of(preset, registry))
    return None if figure is None else {**asdict(figure), "source": SOURCE}
