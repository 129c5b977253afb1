"""Which device networks run on, in which precision, and what each stage of a preset really gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from erc_cli import options
from erc_cli.errors import UsageError
from erc_cli.types import Modality

if TYPE_CHECKING:
    from erc_cli.preset import Preset
    from erc_cli.registry import Registry

Precision = Literal["fp32", "bf16", "fp16"]
#: precision -> torch's name of the number type
PRECISIONS: Mapping[str, str] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
FUSION = "fusion"
_NVIDIA = Path("/proc/driver/nvidia/gpus")
_CPU_FLAGS = Path("/proc/cpuinfo")
_BF16_UNITS = {"avx512_bf16", "amx_bf16", "bf16"}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a stage runs, and in which numbers; `note`: why that is not what was asked for."""

    device: str = "cpu"
    precision: str = "fp32"
    note: str = ""

    def __str__(self) -> str:
        """`cpu, fp32`, with the note in brackets."""
        return f"{self.device}, {self.precision}" + (f" ({self.note})" if self.note else "")

    def as_data(self) -> dict[str, str]:
        """For JSON."""
        return {
            "device": self.device,
            "precision": self.precision,
            **({"note": self.note} if self.note else {}),
        }


@runtime_checkable
class Placed(Protocol):
    """An extractor or a fusion that says itself where it runs."""

    @property
    def placement(self) -> Placement:
        """Its device and precision."""


def find_device(wanted: str) -> str:
    """`auto` becomes the best there is; another name is checked.

    Raises:
        UsageError: torch does not see that device.
    """
    import torch

    mps = torch.backends.mps.is_available()
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    kind, colon, number = wanted.partition(":")
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(mps)}.get(kind)
    if count is None or (colon and not number.isdecimal()):
        raise UsageError(f"--device {wanted}: unknown device.", hint="One of: auto, cpu, cuda, cuda:N, mps")
    if int(number or 0) >= count:
        raise UsageError(f"--device {wanted}: torch sees no such device here.", hint="Type: erc doctor")
    return wanted


def check_precision(wanted: str | None, device: str, option: str = "--precision") -> None:
    """Half precision (fp16) is for GPUs: few CPU operations have it, and they are slow.

    Raises:
        UsageError: fp16 on a CPU, or no precision at all; `option` is what asked for it.
    """
    if wanted is not None and wanted not in PRECISIONS:
        raise UsageError(f"{option} {wanted}: unknown precision.", hint=f"One of: {', '.join(PRECISIONS)}")
    if wanted == "fp16" and device.startswith("cpu"):
        raise UsageError(
            f"{option} fp16 is for GPUs, and the device is {device}.", hint="Type: --precision bf16, or fp32"
        )


def unused_gpu(wanted: str, device: str, driver: Path = _NVIDIA) -> str | None:
    """What to warn of when the CPU is used without being asked for although there is a GPU.

    `driver`: the folder in which NVIDIA's driver lists its GPUs (Linux).
    """
    if wanted != "auto" or device != "cpu" or not driver.is_dir() or not any(driver.iterdir()):
        return None
    import torch

    return (
        f"There is an NVIDIA GPU here, but torch {torch.__version__} cannot use it: all runs on the CPU. "
        "Install a torch with CUDA (https://pytorch.org/get-started), or say --device cpu."
    )


def bf16_units(flags: Path = _CPU_FLAGS) -> bool | None:
    """Whether the CPU multiplies bf16 in hardware (AVX512-BF16, AMX, Arm's BF16); None where unknown.

    Without them, bf16 halves the memory and takes longer than fp32.
    """
    if not flags.is_file():
        return None
    words = set(flags.read_text(encoding="utf-8", errors="replace").split())
    return bool(words & _BF16_UNITS)


def slow_bf16(placements: Mapping[str, Placement]) -> str | None:
    """What to warn of when a stage runs in bf16 on a CPU that is slower so."""
    stages = [name for name, one in placements.items() if (one.device, one.precision) == ("cpu", "bf16")]
    if not stages or bf16_units() is not False:
        return None
    return (
        f"This CPU has no units for bf16: {', '.join(stages)} takes less memory and more time than in fp32."
    )


def placements_of(
    preset: Preset, registry: Registry, parts: Mapping[str, object], device: str, precision: str | None
) -> dict[str, Placement]:
    """Where each stage of a built preset runs: `parts` are its extractors by modality, and its fusion.

    What a part says itself (`Placed`) counts; else it runs on `device` if its `build` asks for one, and in
    `precision` if it asks for that.
    """
    found = {}
    for stage, part in parts.items():
        if isinstance(part, Placed):
            found[str(stage)] = part.placement
            continue
        use = preset.fusion if stage == FUSION else preset.extractors[Modality(stage)]
        spec = registry.fusion(use.name) if stage == FUSION else registry.extractor(use.name)
        asks = options.given(spec.build)
        placed = _placed(use.name, "device" in asks, "precision" in asks, device, precision)
        found[str(stage)] = replace(placed, note="") if stage == FUSION else placed
    return found


def _placed(name: str, moves: bool, casts: bool, device: str, precision: str | None) -> Placement:
    lacking = precision not in (None, "fp32") and not casts
    return Placement(
        device if moves else "cpu",
        (precision or "fp32") if casts else "fp32",
        f"{name} has fp32 only" if lacking else "",
    )


def placements_in_training(
    preset: Preset, registry: Registry, wanted: tuple[str, str], *, joint: bool = False
) -> dict[str, Placement]:
    """Where each stage is fitted when device and precision are `wanted`; together (`joint`): on the CPU.

    A branch without a `train` has no stage; a spec says what its `train` heeds.
    """
    device, precision = wanted
    found: dict[str, Placement] = {}
    for modality, use in preset.extractors.items():
        spec = registry.extractor(use.name)
        heeds = set() if joint else set(spec.heeds)
        if spec.train is not None:
            placed = _placed(use.name, "device" in heeds, "precision" in heeds, device, precision)
            found[str(modality)] = placed
    fusion = registry.fusion(preset.fusion.name)
    if fusion.train is not None:
        found[FUSION] = _placed(fusion.name, False, False, device, precision)
    return {
        stage: replace(one, note=one.note or f"its training knows no {device}")
        if one.device == "cpu" != device
        else one
        for stage, one in found.items()
    }


def line_of(placements: Mapping[str, Placement]) -> str:
    """`text: cpu, fp32; audio: cpu, fp32`, for stderr."""
    return "; ".join(f"{stage}: {one}" for stage, one in placements.items())


def about(device: str, precision: str | None, placements: Mapping[str, Placement]) -> dict[str, Any]:
    """For the meta data of results: what was asked for, and what each stage got."""
    return {
        "device": device,
        "precision": precision or "fp32",
        "stages": {stage: one.as_data() for stage, one in placements.items()},
    }
