"""The process of `model_convert`: reads a checkpoint with `weights_only=True` and writes safetensors.

Run as a script, with the request as JSON on stdin; imports nothing of erc. The answer is one line of
JSON on stdout: `tensors`, `key`, `left_out`; or `refused` and perhaps `choices`.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: where projects put the tensors, most telling first
USUAL = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params")
_DEEPEST = 4
#: expanded tensors may take this much more than the file
_GROWTH, _EXTRA = 4, 256 * 2**20
_MEMORY = 2**30
_CODE = re.compile(r"GLOBAL ([\w.]+)|Unsupported (?:global|class|type):? ?([\w.]*)", re.IGNORECASE)


class RefusedError(Exception):
    """Why the checkpoint is not converted, and what may be chosen."""

    def __init__(self, said: str, choices: tuple[str, ...] = ()) -> None:
        super().__init__(said)
        self.said, self.choices = said, choices


def main() -> None:
    """Answer the request on stdin."""
    asked = json.loads(sys.stdin.read())
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    import torch  # before the limits: torch itself needs a lot

    torch.set_num_threads(1)
    limit(int(asked["size"]), seconds)
    try:
        answer = work([Path(part) for part in asked["parts"]], Path(asked["out"]), asked["key"])
    except RefusedError as error:
        answer = {"refused": error.said, "choices": list(error.choices)}
    except MemoryError:
        answer = {"refused": "asks for more memory than its size allows"}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


def limit(size: int, seconds: int) -> None:
    """Bound memory, time and what is written, where the system can."""
    try:
        import resource
    except ImportError:  # Windows: the time limit of the parent remains
        return
    written = _GROWTH * size + _EXTRA
    bounds = {resource.RLIMIT_CORE: 0, resource.RLIMIT_CPU: seconds, resource.RLIMIT_FSIZE: written}
    status = Path("/proc/self/status")
    used = re.search(r"VmData:\s+(\d+) kB", status.read_text()) if status.exists() else None
    if used is not None:
        bounds[resource.RLIMIT_DATA] = int(used[1]) * 1024 + 2 * written + _MEMORY
    for what, bound in bounds.items():
        hard = resource.getrlimit(what)[1]
        soft = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(what, (soft, hard))


def work(parts: list[Path], out: Path, key: str) -> dict[str, Any]:
    """Convert the parts into one file."""
    tensors: dict[str, Any] = {}
    left_out: list[str] = []
    found = key
    for part in parts:
        table, found = choose(load(part), key)
        for name, value in table.items():
            if not is_tensor(value):
                left_out.append(str(name))
            elif not isinstance(name, str) or name in tensors:
                raise RefusedError(f"has a tensor without a name of its own: {name!r:.80}")
            else:
                tensors[name] = value
    save(tensors, out, sum(part.stat().st_size for part in parts))
    return {"tensors": len(tensors), "key": found, "left_out": sorted(left_out)[:50]}


def load(path: Path) -> Any:
    """What the checkpoint holds; anything but tensors and plain data is refused by torch."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a hostile file: torch may raise anything, all is refusal
        text = " ".join(str(error).split())
        named = _CODE.search(text)
        if named is None:
            raise RefusedError(
                f"is not a checkpoint of PyTorch with tensors only ({type(error).__name__})"
            ) from None
        what = next((group for group in named.groups() if group), "")
        raise RefusedError(
            f"is not only tensors: it asks for {what or 'an object'}, which could run code"
        ) from None


def is_tensor(value: object) -> bool:
    """Whether it is a tensor."""
    import torch

    return isinstance(value, torch.Tensor)


def choose(content: Any, key: str) -> tuple[Mapping[Any, Any], str]:
    """The mapping of names to tensors, and the way to it: the one of `key`, or the obvious one."""
    if key:
        value = content
        for word in key.split("."):
            if not isinstance(value, Mapping) or word not in value:
                raise RefusedError(f"has nothing at {key!r}", tuple(ways(content)))
            value = value[word]
        if not holds_tensors(value):
            raise RefusedError(f"has no tensors at {key!r}", tuple(ways(content)))
        return value, key
    found = ways(content)
    if not found:
        raise RefusedError("holds no tensors by name")
    by_custom = [way for word in USUAL for way in found if way.partition(".")[0] == word]
    way = "" if "" in found else found[0] if len(found) == 1 else by_custom[0] if by_custom else None
    if way is None:
        raise RefusedError(f"holds {len(found)} sets of tensors", tuple(found))
    return choose(content, way) if way else (content, "")


def ways(content: Any, before: str = "", depth: int = 0) -> list[str]:
    """The ways to every mapping that holds tensors; the outermost of nested ones."""
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return []
    if holds_tensors(content):
        return [before]
    inner = [
        (f"{before}.{name}" if before else name, value)
        for name, value in content.items()
        if isinstance(name, str)
    ]
    return [way for name, value in inner for way in ways(value, name, depth + 1)]


def holds_tensors(value: Any) -> bool:
    """Whether it is a mapping with a tensor in it."""
    return isinstance(value, Mapping) and any(is_tensor(one) for one in value.values())


def save(tensors: dict[str, Any], out: Path, size: int) -> None:
    """Write them, each whole and by itself: views and shared storages become copies."""
    import torch
    from safetensors.torch import save_file

    plain = all(t.layout == torch.strided and not t.is_quantized and not t.is_meta for t in tensors.values())
    if not tensors or not plain:
        raise RefusedError("holds sparse, quantised or empty tensors, which safetensors has not")
    if sum(t.numel() * t.element_size() for t in tensors.values()) > _GROWTH * size + _EXTRA:
        raise RefusedError("asks for tensors far larger than the file")
    seen: set[int] = set()
    whole = {}
    for name, tensor in tensors.items():
        one = tensor.detach()
        storage = one.untyped_storage()
        shared = storage.data_ptr() in seen or storage.nbytes() != one.numel() * one.element_size()
        seen.add(storage.data_ptr())
        whole[name] = one.clone(memory_format=torch.contiguous_format) if shared else one.contiguous()
    save_file(whole, out, metadata={"format": "pt"})


if __name__ == "__main__":
    main()
