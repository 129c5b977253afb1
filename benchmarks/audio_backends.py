"""Speed and memory of the audio backends, one utterance at a time and several at once.

    python benchmarks/audio_backends.py                      every backend that is installed
    python benchmarks/audio_backends.py wavlm-base ecapa     these

Networks have the published sizes and random weights: what they answer means nothing, how long it takes
does. Sound is examples/conversation.mp4's, in pieces as long as MELD's utterances (mean 3.1 s). Each backend
runs in a process of its own. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILM = Path(__file__).resolve().parents[1] / "examples" / "conversation.mp4"
RATE = 16_000
LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}
WHISPER = {"encoder_layers": 6, "decoder_layers": 6, "d_model": 512}
WHISPER |= {f"{part}_attention_heads": 8 for part in ("encoder", "decoder")}
WHISPER |= {f"{part}_ffn_dim": 2048 for part in ("encoder", "decoder")}


def hub_model(folder: Path, kind: str, **config: Any) -> None:
    """A model of that size as Hugging Face's hub has them."""
    from erc_cli.torchaudio_guard import prepare

    prepare()
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

    AutoModel.from_config(AutoConfig.for_model(kind, **config)).save_pretrained(folder)
    given = {"wav2vec2": "Wav2Vec2FeatureExtractor", "whisper": "WhisperFeatureExtractor"}
    said = {"feature_extractor_type": given.get(kind, given["wav2vec2"])}
    (folder / "preprocessor_config.json").write_text(json.dumps(said), encoding="utf-8")
    AutoFeatureExtractor.from_pretrained(folder).save_pretrained(folder)


def ecapa_model(folder: Path) -> None:
    """SpeechBrain's network of its VoxCeleb recipe."""
    from erc_cli.torchaudio_guard import prepare

    prepare()
    from safetensors.torch import save_file
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

    network = ECAPA_TDNN(80, channels=[1024, 1024, 1024, 1024, 3072], lin_neurons=192)
    folder.mkdir(exist_ok=True)
    save_file(network.state_dict(), folder / "embedding_model.safetensors")


def nothing(folder: Path) -> None:
    """A backend without a model."""
    del folder


#: name -> (extractor, what writes its model)
BACKENDS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "prosody": ("prosody", nothing),
    "opensmile": ("opensmile", nothing),
    "ecapa": ("speechbrain", ecapa_model),
    "wav2vec2-base": ("wav2vec2", lambda folder: hub_model(folder, "wav2vec2")),
    "hubert-base": ("hubert", lambda folder: hub_model(folder, "hubert")),
    "wavlm-base": ("wavlm", lambda folder: hub_model(folder, "wavlm")),
    "wavlm-large": ("wavlm", lambda folder: hub_model(folder, "wavlm", **LARGE)),
    "whisper-base": ("whisper-encoder", lambda folder: hub_model(folder, "whisper", **WHISPER)),
}


def clips(count: int) -> list[Any]:
    """Clips as long as MELD's utterances."""
    import numpy as np

    from erc_cli.media import probe, read_clips
    from erc_cli.types import Clip, Wish

    ((_, film),) = read_clips(probe(FILM), [Wish(sound=(0.0, 27.0))])
    if film.sound is None:
        sys.exit(f"{FILM} has no sound")
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(0.9, 0.65, count), 0.3, 15.0)
    starts = random.uniform(0, 27 - lengths)
    return [
        Clip(film.sound[round(s * RATE) : round((s + n) * RATE)])
        for s, n in zip(starts, lengths, strict=True)
    ]


def measure(name: str, folder: Path, count: int, device: str, seconds: int) -> dict[str, Any]:
    """One backend: load time (s), utterances a second one by one and together, memory (MB).

    Times are CPU seconds of the one thread, so that other work on the machine counts little; on a GPU
    they would miss what the GPU does, and wall seconds are taken.
    """
    import torch

    from erc_cli.batching import EncodesMany
    from erc_cli.nets import speech
    from erc_cli.preset import Use, build_extractor
    from erc_cli.registry import load_registry

    torch.set_num_threads(1)
    clock = time.process_time if device == "cpu" else time.perf_counter
    given = clips(count)
    options = {} if BACKENDS[name][1] is nothing else {"weights": str(folder)}
    begun = clock()
    extractor = build_extractor(Use(BACKENDS[name][0], options, folder), load_registry(), device=device)
    load = clock() - begun
    extractor.encode(given[0])  # what is done once only
    before = memory()
    begun = clock()
    for clip in given:
        extractor.encode(clip)
    alone = clock() - begun
    together = None
    if isinstance(extractor, EncodesMany) and BACKENDS[name][1] is not nothing:
        speech.TOGETHER[device.partition(":")[0]] = seconds * RATE  # what erc leaves out on a CPU as well
        begun = clock()
        extractor.encode_many(given)
        together = clock() - begun
    return {
        "name": name,
        "width": extractor.dim,
        "load": load,
        "alone": count / alone,
        "together": count / together if together else None,
        "share": alone / sum(len(clip.sound) / RATE for clip in given),
        "alone_memory": before,
        "memory": memory(),
    }


def memory() -> float:
    """Peak memory of this process in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def in_process(task: str, *more: str) -> str:
    """This script again, in a process of its own; the last line that it prints, if it went well."""
    command = [sys.executable, __file__, "--task", task, *more]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if done.returncode:
        print(f"{' '.join(more)}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return ""
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "{}"


def table(names: list[str], more: list[str]) -> None:
    """Write each model, measure, throw it away."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, one thread, {' '.join(more)}\n")
    print(
        "| backend | width | load (s) | one by one (utterances/s) | share of duration | together | memory |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            if not in_process("write", name, folder):
                continue
            made = in_process("measure", name, folder, *more)
        if made:
            m = json.loads(made)
            faster = (
                "" if m["together"] is None else f"{m['together']:.2f} (× {m['together'] / m['alone']:.2f})"
            )
            print(
                f"| `{name}` | {m['width']} | {m['load']:.1f} | {m['alone']:.2f} | {m['share']:.2f} "
                f"| {faster} | {m['memory']:.0f} MB |",
                flush=True,
            )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", metavar="BACKEND", help=f"of: {', '.join(BACKENDS)}")
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--together", type=int, default=64, help="seconds of padded sound in a pass")
    parser.add_argument(
        "--task", choices=("table", "write", "measure"), default="table", help=argparse.SUPPRESS
    )
    given = parser.parse_args()
    if given.task == "table":
        more = {"--count": given.count, "--device": given.device, "--together": given.together}
        table(given.names or list(BACKENDS), [str(word) for pair in more.items() for word in pair])
        return
    name, folder = given.names[0], Path(given.names[1])
    if given.task == "write":
        BACKENDS[name][1](folder)
    else:
        print(json.dumps(measure(name, folder, given.count, given.device, given.together)))


if __name__ == "__main__":
    main()
