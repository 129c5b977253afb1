"""A PyTorch checkpoint becomes safetensors: in a process of its own, tensors only, without fallback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erc_cli.errors import ErcError, UsageError
from erc_cli.files import atomic_write, check_output, read_json

INDEX = "pytorch_model.bin.index.json"
WORKER = Path(__file__).with_name("model_convert_worker.py")
#: seconds for torch to start, and bytes a second for the slowest disk that is waited for
_START, _SPEED = 120.0, 2 * 10**6
_SAFETENSORS = "It is safetensors already, which erc reads as it is."


@dataclass(frozen=True, slots=True)
class Converted:
    """What came of it: how many tensors, where in the checkpoint they were, what was left out."""

    tensors: int
    key: str
    left_out: tuple[str, ...] = ()


def convert(source: Path, target: Path, *, key: str = "", force: bool = False) -> Converted:
    """Write the tensors of `source` as safetensors, whole or not at all.

    `source`: a checkpoint, or a folder with `pytorch_model.bin` or its index of parts. `key`: where
    the tensors are in it (`state_dict`, `ema.model`); found when left out.

    Raises:
        UsageError: there is no such file, `target` exists, or it holds several sets of tensors.
        ErcError: it is no checkpoint, or holds more than tensors and plain data. Nothing of it ran.
    """
    parts = _parts(source)
    check_output(target, force)
    with atomic_write(target, force) as draft:
        return _run(source, parts, draft, key)


def _parts(source: Path) -> list[Path]:
    if source.is_dir():
        index, single = source / INDEX, source / "pytorch_model.bin"
        if index.is_file():
            names = read_json(index).get("weight_map")
            sound = isinstance(names, dict) and bool(names) and all(map(_plain_name, names.values()))
            if not sound or not isinstance(names, dict):
                raise ErcError(f"{index} does not name the parts of a model.", hint="Get the model anew.")
            return [_there(source / name) for name in sorted(set(names.values()))]
        if not single.is_file():
            raise UsageError(
                f"{source} holds neither {single.name} nor {INDEX}.", hint="Name the checkpoint itself."
            )
        return [single]
    return [_there(source)]


def _plain_name(name: object) -> bool:
    return isinstance(name, str) and Path(name).name == name and "\\" not in name and name not in ("", "..")


def _there(path: Path) -> Path:
    if not path.is_file():
        raise UsageError(f"No such file: {path}", hint="Name a checkpoint: .pt, .pth, .bin or .ckpt")
    with path.open("rb") as stream:
        start = stream.read(512)
    if path.suffix == ".safetensors" or start[8:10] == b'{"':
        raise UsageError(f"{path}: {_SAFETENSORS}", hint="Use it as it is.")
    if start.lstrip()[:1] == b"<":
        raise ErcError(f"{path} is a web page, not a checkpoint.", hint="Get it anew from its source.")
    return path


def _run(source: Path, parts: Sequence[Path], draft: Path, key: str) -> Converted:
    size = sum(part.stat().st_size for part in parts)
    asked = {"parts": [str(p.resolve()) for p in parts], "out": str(draft), "key": key, "size": size}
    allowed = _START + size / _SPEED
    # A list and no shell; -P: nothing is imported from the current folder.
    command = [sys.executable, "-P", str(WORKER), str(int(allowed))]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=allowed,
            env=_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ErcError(
            f"{source} was not converted within {allowed:.0f} s.", hint="Ask its author for safetensors."
        ) from None
    answer = _answer(done.stdout)
    if answer is None:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ErcError(
            f"{source} could not be converted: the process ended with {done.returncode} ({last:.200}).",
            hint="Is there memory enough for the whole file? Else ask its author for safetensors.",
        )
    if "refused" in answer:
        raise _refusal(source, answer)
    return Converted(int(answer["tensors"]), str(answer["key"]), tuple(answer["left_out"]))


def _environment() -> dict[str, str]:
    """Ours, without what loosens `weights_only`, with one thread and no GPU."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TORCH_FORCE", "PYTHONSTARTUP"))}
    return {**kept, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def _answer(text: str) -> dict[str, Any] | None:
    try:
        answer = json.loads(text.strip().rpartition("\n")[2])
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _refusal(source: Path, answer: dict[str, Any]) -> ErcError:
    said = str(answer["refused"])
    choices = [str(choice) for choice in answer.get("choices", ())]
    if choices:
        return UsageError(f"{source} {said}.", hint=f"Choose one with --key: {', '.join(choices[:10])}")
    return ErcError(
        f"{source} {said}. Nothing of it was run, nothing is written.",
        hint="There is no way around: ask its author for safetensors, or take another model.",
    )
