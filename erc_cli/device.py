"""Which device networks run on."""

from __future__ import annotations

from erc_cli.errors import UsageError


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
