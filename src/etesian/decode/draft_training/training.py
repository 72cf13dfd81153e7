"""MAIN PATH of draft training: let the target write texts, train a head on them, and write it with a record of how it was made."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etesian._shared.files import atomic_write
from etesian.decode.checks import check_real, check_whole
from etesian.decode.draft_training.prompts import prompt_tokens, prompts
from etesian.decode.draft_training.samples import Samples, sample_texts
from etesian.decode.drafters.head.folder import read_json, write_head
from etesian.decode.drafters.head.recognition import embedding_sample
from etesian.decode.drafters.head.weights import HeadConfig, HeadWeights
from etesian.decode.models.cpu.architecture import Network
from etesian.decode.models.cpu.model import CpuModel
from etesian.decode.models.cpu.quantized.matrix import BlockMatrix, StackedBlocks
from etesian.decode.output_text import ChatTemplate, Tokenizer
from etesian.errors import InputError, OutputError

SAMPLING_SHARE = 0.45
"""Share of the time in which the target writes texts."""
PARTS = ("train", "held_out")
TEMPERATURES = (0.0, 0.8, 1.0)
SHARD_PROMPTS = 192
MOST_EXTRA = 64
"""Shards up to which sampling goes on beyond its time until there are texts to train on and held-out ones."""
MOST_DRAWS = 10
"""Draws per prompt of a shard; prompts that leave no room for a text are skipped."""
SAVE_SECONDS = 60.0
CURVE_TEXTS = 96
"""Held-out texts that the acceptance during the training is measured on; that at its end is measured on all."""
Progress = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Options of a training run.

    Parameters
    ----------
    minutes : float
        Time for sampling and training together, of all runs that continue in the same folder.
    text : Path or None
        Folder with text files whose passages are the prompts; None for built-in prompts of six kinds of use.
    n_outputs : int
        Number of tokens that the head can propose: the most frequent ones in the target's texts.
    n_tokens : int
        Maximum length of each text beyond the prompt.
    seed : int
        Seed of prompts, texts and training, from 0 to 2**64 - 1.
    """

    minutes: float = 60.0
    text: Path | None = None
    n_outputs: int = 4096
    n_tokens: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        check_real("minutes", self.minutes, "above 0", lambda value: value > 0)
        check_whole("n_outputs", self.n_outputs, at_least=1)
        check_whole("n_tokens", self.n_tokens, at_least=1)
        check_whole("seed", self.seed, at_least=0)
        if self.seed >= 2**64:
            raise InputError(f"seed must be below 2**64; got {self.seed}")


@dataclass(frozen=True)
class Target:
    """The target: its weights, packed model, tokenizer, chat template and the tokens that end a text."""

    name: str
    network: Network
    model: CpuModel
    tokenizer: Tokenizer
    chat_template: ChatTemplate | None
    end_tokens: Sequence[int]


def train_draft(target: Target, folder: Path, options: TrainingOptions, progress: Progress) -> dict[str, Any]:
    """Train a draft head for a target and write it to a folder; continue there if the folder holds an unfinished run.

    Parameters
    ----------
    target : Target
    folder : Path
        Receives ``config.json`` and ``model.safetensors``, the record ``training.json``, and ``work`` with samples and checkpoint.
    options : TrainingOptions
    progress : callable
        Called with a line of text now and then.

    Returns
    -------
    dict
        The record: options, numbers of tokens and steps, and the acceptance on held-out prompts over time.

    Raises
    ------
    InputError
        If the folder cannot be created or holds a run with other options, or no prompt fits the target.
    """
    work = folder / "work"
    _make_folder(work)
    _check_same_run(work, target, options)
    sample_all(target, work, options, progress)
    train, held_out = read_samples(work)
    record = fit(target, work, options, train, held_out, progress, folder)
    with atomic_write(folder / "training.json", "w") as file:
        json.dump(record, file, indent=1)
    return record


def sample_all(target: Target, work: Path, options: TrainingOptions, progress: Progress) -> None:
    """Let the target write texts until their share of the time is used up, shard by shard; finished shards are kept."""
    limit = options.minutes * 60 * SAMPLING_SHARE
    path = work / "sampling.json"
    state = read_json(path) if path.is_file() else {"seconds": 0.0, "shards": 0}
    while state["seconds"] < limit or (state["shards"] < MOST_EXTRA and not _has_both_parts(work)):
        started = time.perf_counter()
        shard = int(state["shards"])
        parts = _sampled(target, options, np.random.default_rng((options.seed, shard)))
        if shard == 0:  # with the first texts, so that options that fail leave no run behind
            _write_json(work / "run.json", _run_of(target, options))
        for name, found in parts.items():
            if found:
                Samples.joined(found).save(work / name / f"{shard:05}.npz")
        n_tokens = sum(samples.n_output for found in parts.values() for samples in found)
        state["seconds"] += time.perf_counter() - started
        state |= {"shards": shard + 1, "tokens": state.get("tokens", 0) + n_tokens}
        _write_json(path, state)
        progress(f"sampled {state['tokens']:,} tokens in {state['seconds']:.0f} of {limit:.0f} s")


def _has_both_parts(work: Path) -> bool:
    return all(any((work / name).glob("*.npz")) for name in PARTS)


def _sampled(target: Target, options: TrainingOptions, rng: np.random.Generator) -> dict[str, list[Samples]]:
    """Sample the texts of one shard; a prompt is held out in all shards or in none."""
    room = None if target.model.max_length is None else target.model.max_length - options.n_tokens
    held_out, tokens = list[bool](), list[list[int]]()
    for prompt in islice(prompts(options.text, rng), MOST_DRAWS * SHARD_PROMPTS):
        encoded = prompt_tokens(prompt.text, target.tokenizer, target.chat_template)
        if encoded and (room is None or len(encoded) < room):
            held_out.append(prompt.is_held_out)
            tokens.append(encoded)
        if len(tokens) == SHARD_PROMPTS:
            break
    if not tokens:
        raise InputError(
            f"no prompt has tokens of this target and leaves room for {options.n_tokens} more; use other passages, or fewer "
            "tokens per text"
        )
    found = sample_texts(
        target.model,
        tokens,
        n_tokens=options.n_tokens,
        temperatures=rng.choice(TEMPERATURES, len(tokens)).tolist(),
        end_tokens=target.end_tokens,
        rng=rng,
    )
    parts: dict[str, list[Samples]] = {name: [] for name in PARTS}
    for is_held_out, samples in zip(held_out, found, strict=True):
        parts["held_out" if is_held_out else "train"].append(samples)
    return parts


def read_samples(work: Path) -> tuple[Samples, Samples]:
    """Read the training and the held-out texts."""
    found = []
    for name in PARTS:
        shards = sorted((work / name).glob("*.npz"))
        if not shards:
            raise InputError(f"{work / name} holds no texts; delete {work} and start again")
        found.append(Samples.joined([Samples.load(shard) for shard in shards]))
    return found[0], found[1]


def fit(
    target: Target, work: Path, options: TrainingOptions, train: Samples, held_out: Samples, progress: Progress,
    folder: Path,
) -> dict[str, Any]:  # fmt: skip
    """Train until the time is used up; write the head after each checkpoint."""
    import torch

    from etesian.decode.draft_training.fitting import Corpus, Fitting, acceptance, fit_residual
    from etesian.decode.draft_training.module import HeadModule

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokens, share = frequent_tokens(train, options.n_outputs)
    index = np.full(target.model.vocabulary_size, -1)
    index[tokens] = np.arange(len(tokens))
    scales = np.sqrt(np.mean(np.square(train.hidden_states[:2048].astype(np.float32)), axis=0))
    module = HeadModule(head_config(target), output_rows(target.network, tokens), scales).to(device)
    corpora = [Corpus(samples, target.model.embed, index, device) for samples in (train, held_out)]
    fitting = Fitting(module, work, options.seed)
    if fitting.resume():
        progress(f"resumed after {fitting.n_steps:,} steps")
    else:
        fit_residual(module, corpora[0])
    limit = options.minutes * 60 * (1 - SAMPLING_SHARE)
    is_first = fitting.n_steps == 0
    while is_first or fitting.seconds < limit:
        end = time.perf_counter() + min(SAVE_SECONDS, max(limit - fitting.seconds, 0.0))
        first_step = fitting.n_steps
        loss = fitting.run(
            corpora[0],
            limit,
            lambda: fitting.n_steps > first_step and time.perf_counter() >= end,  # noqa: B023
        )
        is_last = fitting.seconds >= limit
        rates = acceptance(module, corpora[1], None if is_last else CURVE_TEXTS)
        fitting.curve.append(
            {"seconds": round(fitting.seconds, 1), "loss": round(loss, 4), "acceptance": _rounded(rates)}
        )
        write_head(folder, _without_embeddings(module.weights(tokens), target.model), embedding_sample(target.model))
        fitting.save()  # after the head, so that no finished run is without one
        rates_text = ", ".join(f"{rate:.1%}" for rate in rates)
        progress(
            f"{fitting.seconds:.0f} of {limit:.0f} s, step {fitting.n_steps:,}: loss {loss:.3f}, accepted {rates_text}"
        )
        is_first = False
    return {
        "target": target.name,
        "fingerprint": target.model.fingerprint,
        "options": replace_path(options),
        "tokens": train.n_output,
        "held_out_tokens": held_out.n_output,
        "outputs": len(tokens),
        "share_of_text_covered": round(share, 4),
        "steps": fitting.n_steps,
        "curve": fitting.curve,
        "machine": {"processor": platform.machine(), "device": device, "threads": torch.get_num_threads()},
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }


def head_config(target: Target) -> HeadConfig:
    """Return the shape of a head: a layer as wide as one of the target."""
    architecture = target.network.architecture
    n_heads = architecture.n_heads
    inner_width = -(-architecture.inner_width // 32) * 32
    return HeadConfig(
        width=architecture.width,
        n_heads=n_heads,
        n_key_heads=architecture.n_key_heads if n_heads % architecture.n_key_heads == 0 else n_heads,
        head_width=architecture.head_width,
        inner_width=inner_width,
        feature_width=architecture.width,
        vocabulary_size=architecture.vocabulary_size,
        n_features=len(layers := feature_layers(architecture.n_layers)),
        feature_layers=layers,
    )


def feature_layers(n_layers: int) -> tuple[int, ...]:
    """Return the layers whose inputs a head reads: two inner ones, where there are, and the output layer."""
    inner = {round(n_layers / 3), round(2 * n_layers / 3)} - {0, n_layers}
    return (*sorted(inner), n_layers)


def frequent_tokens(samples: Samples, n_outputs: int) -> tuple[NDArray[np.int64], float]:
    """Return the tokens with the most probability in the target's distributions, ascending, and their share of all of it."""
    chances = np.exp(samples.top_logprobs.astype(np.float64)).reshape(-1)
    counts = np.bincount(samples.top_tokens.reshape(-1), weights=chances)
    chosen = np.argsort(-counts, kind="stable")[:n_outputs]
    chosen = np.sort(chosen[counts[chosen] > 0]).astype(np.int64)
    return chosen, float(counts[chosen].sum() / counts.sum())


def output_rows(network: Network, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return rows of the target's output layer as float32."""
    weight = network.output.weight
    if isinstance(weight, StackedBlocks):
        weight = weight.parts[0] if len(weight.parts) == 1 else np.concatenate([part.floats() for part in weight.parts])
    if isinstance(weight, BlockMatrix):
        return np.ascontiguousarray(weight.floats(tokens))
    if isinstance(weight, np.ndarray):
        return np.ascontiguousarray(weight[tokens])
    rows: NDArray[np.float32] = weight[tokens.tolist()].detach().float().cpu().numpy()
    return rows


def _without_embeddings(weights: HeadWeights, model: CpuModel) -> HeadWeights:
    """Drop the output layer if it consists of the target's embeddings, as in models with tied weights."""
    is_tied = weights.output is not None and np.array_equal(weights.output, model.embed(weights.output_tokens))
    return replace(weights, output=None) if is_tied else weights


def replace_path(options: TrainingOptions) -> dict[str, Any]:
    """Return the options as plain values."""
    plain = vars(options).copy()
    plain["text"] = None if options.text is None else options.text.name
    return plain


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise OutputError(f"{folder} cannot be created: {error.strerror}; give another folder") from None


def _run_of(target: Target, options: TrainingOptions) -> dict[str, Any]:
    """Return what all runs in one folder share: the target, and the options but the time."""
    layers = list(target.model.kept_layers)
    return {"target": target.model.fingerprint, "layers": layers, **replace_path(replace(options, minutes=1.0))}


def _check_same_run(work: Path, target: Target, options: TrainingOptions) -> None:
    """Refuse to continue a run of another target or with other options but the time."""
    path = work / "run.json"
    if not path.is_file():
        return
    begun = read_json(path)
    for name, value in _run_of(target, options).items():
        if begun.get(name) != value:
            raise InputError(
                f"{work.parent} holds a run with {name} {begun.get(name)!r}, not {value!r}; give another folder, or delete {work}"
            )


def _rounded(rates: list[float]) -> list[float]:
    return [round(rate, 4) for rate in rates]


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path, "w", make_parents=True) as file:
        json.dump(content, file)
