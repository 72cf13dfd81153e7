"""The target as its own draft model: a copy of its weights in fewer bits, which needs no training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from etesian.decode.models.cpu.architecture import Architecture
from etesian.decode.models.language_model import LanguageModel
from etesian.decode.models.loading import LoadOptions
from etesian.decode.models.loading.network import load_network
from etesian.decode.models.loading.options import QuantizedType
from etesian.decode.speculation.costs import PassCosts
from etesian.errors import InputError

if TYPE_CHECKING:
    from etesian.decode.models.cpu.model import CpuModel

SELF = "self"
DEFAULT_FORMAT = "q4_1"
FEWEST_PARAMETERS = 500_000_000
FEWEST_BITS = 8.0  # per weight of the target, below which a copy saves too little
MEMORY_MARGIN = 1.25  # times the size of the copy, which must be available
AGREEMENT = 0.85  # expected share of first choices that a copy in 4 bits shares with its original
LEAST_GAIN = 1.05
BITS_OF_COPY = 5.5  # per weight, scales included


def copy_format(stage: str) -> str | None:
    """Return the block format that ``"self"`` or ``"self:FORMAT"`` names; None for another stage.

    Raises
    ------
    InputError
        If the format is unknown.
    """
    name, _, form = stage.partition(":")
    if name != SELF:
        return None
    if not form and ":" not in stage:
        return DEFAULT_FORMAT
    if form not in get_args(QuantizedType):
        names = ", ".join(f"{SELF}:{each}" for each in get_args(QuantizedType))
        raise InputError(f"a copy of the target must be {SELF!r} or one of {names}; got {stage!r}")
    return form


def load_copy(source: str | Path, target: LanguageModel, form: str, options: LoadOptions | None) -> LanguageModel:
    """Load a target again, rounded to a block format.

    Raises
    ------
    InputError
        If the target does not run in the CPU engine.
    """
    from etesian.decode.models.cpu.model import CpuModel
    from etesian.decode.models.cpu.quantized.rounding import quantized

    if not isinstance(target, CpuModel):
        raise InputError(f"draft={SELF!r} needs a target that runs in the CPU engine; {str(source)!r} does not")
    return CpuModel(quantized(load_network(source, options), form.upper()), n_threads=target.n_threads)


def is_candidate(target: LanguageModel) -> bool:
    """Return True if a copy may be faster: the target is large, has 8 bits or more, and the copy fits into memory."""
    from etesian.decode.models.cpu.model import CpuModel

    if not isinstance(target, CpuModel):
        return False
    n_parameters = count_parameters(target.architecture)
    needed = MEMORY_MARGIN * BITS_OF_COPY / 8 * n_parameters
    is_large = n_parameters >= FEWEST_PARAMETERS
    return is_large and bits_per_weight(target) >= FEWEST_BITS and needed <= available_bytes()


def bits_per_weight(target: CpuModel) -> float:
    """Return the bits that a pass reads for each weight of the matrices."""
    return 8 * target.weights.packed.nbytes / count_parameters(target.architecture)


def count_parameters(architecture: Architecture) -> int:
    """Return the number of weights in the matrices that a pass reads."""
    width, attended = architecture.width, architecture.n_heads * architecture.head_width
    heads = attended + 2 * architecture.n_key_heads * architecture.head_width
    inner = architecture.inner_width * (2 + architecture.is_gated)
    return architecture.n_layers * width * (heads + attended + inner) + architecture.vocabulary_size * width


def available_bytes() -> float:
    """Return the memory that is free or can be freed; 0 if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0.0
    named = dict(line.split(":", 1) for line in lines if ":" in line)
    amount = named.get("MemAvailable", "0 kB").split()
    return float(amount[0]) * 1024


def expected_gain(target: PassCosts, copy: PassCosts, agreement: float = AGREEMENT, longest: int = 12) -> float:
    """Return the speed-up of the best chain drafted by a copy, from measured costs of passes.

    A chain of k tokens decides (1 - a ** (k + 1)) / (1 - a) tokens at agreement a (Leviathan et al. 2023, equation 1). It takes k
    passes of the copy and one of the target with k + 1 rows.
    """
    lengths = np.arange(1, longest + 1)
    tokens = (1 - agreement ** (lengths + 1)) / (1 - agreement)
    seconds = lengths * copy.seconds(1) + target.curve(lengths + 1)
    return float((tokens / seconds).max() * target.seconds(1))


def is_worthwhile(target: PassCosts, copy: PassCosts) -> bool:
    """Return True if a copy is expected to make decoding clearly faster."""
    return expected_gain(target, copy) >= LEAST_GAIN
