"""The guard against a torchaudio that does not fit torch, with a real torchaudio where pip has one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

_PREPARE = "from erc_cli.torchaudio_guard import prepare; print(prepare()); print(prepare())"

_USE = """
import sys
from erc_cli.torchaudio_guard import prepare
mode = prepare()
assert prepare() == mode
import torch, torchaudio
from transformers import AutoModel, BertConfig
folder = sys.argv[1]
small = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=50)
AutoModel.from_config(BertConfig(**small)).save_pretrained(folder)
model = AutoModel.from_pretrained(folder)
assert model(torch.arange(4)[None]).last_hidden_state.shape == (1, 4, 32)
tone = torch.sin(torch.arange(8000) * 0.1)[None]
assert torchaudio.functional.resample(tone, 8000, 16000).shape == (1, 16000)
assert torchaudio.transforms.MelSpectrogram(8000, n_mels=40)(tone).shape[:2] == (1, 40)
try:
    torchaudio.functional.forced_align(tone, tone, tone, tone)
except RuntimeError as error:
    assert mode == "native" or "compiled part" in str(error), error
except ValueError:  # the compiled part is there, and a tone is no labels
    assert mode == "native"
print(mode)
"""


def _python(code: str, *arguments: str, paths: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
    places = os.pathsep.join(map(str, (ROOT, *paths)))
    env = {**os.environ, "PYTHONPATH": places, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def _torchaudio(folder: Path, extension: str) -> Path:
    """A package that is laid out and fails as torchaudio 2.11 does, without torch."""
    package = folder / "torchaudio"
    (package / "_extension").mkdir(parents=True)
    (package / "__init__.py").write_text("from . import _extension\nfrom . import functional\n")
    (package / "_extension" / "__init__.py").write_text(extension)
    (package / "functional.py").write_text(
        "from torchaudio._extension import _IS_TORCHAUDIO_EXT_AVAILABLE, fail_if_no_align\n"
        "@fail_if_no_align\ndef forced_align():\n    return 1\n"
    )
    return folder


def test_absent(tmp_path: Path) -> None:
    code = "import importlib.util as u; assert u.find_spec('torchaudio') is None, 'there'; " + _PREPARE
    answer = _python(code)
    if "there" in answer.stderr:
        pytest.skip("torchaudio is installed here")
    assert answer.stdout.split() == ["absent", "absent"], answer.stderr


@pytest.mark.parametrize("error", ["OSError('libc10_cuda.so')", "RuntimeError('different CUDA versions')"])
def test_compiled_part_that_does_not_load_is_replaced(tmp_path: Path, error: str) -> None:
    folder = _torchaudio(tmp_path, f"raise {error}\n")
    code = _PREPARE + "\nimport torchaudio.functional as f\ntry:\n    f.forced_align()\n"
    code += "except RuntimeError as error:\n    print(error)\n"
    answer = _python(code, paths=(folder,))
    assert answer.returncode == 0, answer.stderr
    first, second, said = answer.stdout.splitlines()
    assert (first, second) == ("python-only", "python-only")
    assert said.startswith("forced_align needs torchaudio's compiled part")


def test_compiled_part_that_loads_is_left_alone(tmp_path: Path) -> None:
    extension = "_IS_TORCHAUDIO_EXT_AVAILABLE = True\ndef fail_if_no_align(f):\n    return f\n"
    code = _PREPARE + "\nimport torchaudio.functional as f\nprint(f.forced_align())\n"
    answer = _python(code, paths=(_torchaudio(tmp_path, extension),))
    assert answer.stdout.split() == ["native", "native", "1"], answer.stderr


def test_torchaudio_that_cannot_be_imported_at_all_says_what_to_type(tmp_path: Path) -> None:
    folder = _torchaudio(tmp_path, "raise OSError('libc10_cuda.so')\n")
    (folder / "torchaudio" / "functional.py").write_text("raise ImportError('no such thing')\n")
    answer = _python(_PREPARE, paths=(folder,))
    assert "no such thing (at first: libc10_cuda.so)" in answer.stderr
    assert "Type: pip uninstall torchaudio" in answer.stderr


@pytest.mark.slow
def test_real_torchaudio_beside_this_torch(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    target = tmp_path / "site"
    options = ["--quiet", "--no-deps", "--target", str(target)]
    install = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "torchaudio==2.11.*"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if install.returncode:
        pytest.skip("pip cannot get torchaudio 2.11 here")
    answer = _python(_USE, str(tmp_path / "bert"), paths=(target,))
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() in ("native", "python-only")
