"""Loading options: where a model comes from and how its weights are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from etesian.errors import InputError

NumberType = Literal["auto", "bf16", "fp16", "fp32"]

QuantizedType = Literal["q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]

NUMBER_TYPES = {"auto": "auto", "bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
"""Names of the number types in transformers."""


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """Loading options of a model.

    Parameters
    ----------
    dtype : {'auto', 'bf16', 'fp16', 'fp32'}
        Number type of the weights; ``"auto"`` for the type in the files.
    quantize : str or None
        Block format to which the matrices of safetensors are rounded on loading, such as ``"q8_0"`` or ``"q4_0"``; None for no
        rounding. CPU only.
    device : str
        ``"cpu"``, ``"cuda"`` or another device of torch; ``"auto"`` for CUDA if available.
    trust_remote_code : bool
        True if code that comes with a model may run.
    revision : str or None
        Branch, tag or commit on the hub; None for the main branch.
    local_files_only : bool
        If True, use the local cache only.
    """

    dtype: NumberType = "auto"
    quantize: QuantizedType | None = None
    device: str = "auto"
    trust_remote_code: bool = False
    revision: str | None = None
    local_files_only: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in NUMBER_TYPES:
            raise InputError(f"dtype must be {', '.join(map(repr, NUMBER_TYPES))}; got {self.dtype!r}")
        if self.quantize is not None and self.quantize not in get_args(QuantizedType):
            names = ", ".join(map(repr, get_args(QuantizedType)))
            raise InputError(f"quantize must be None, {names}; got {self.quantize!r}")

    @property
    def sources(self) -> dict[str, Any]:
        """Arguments of `from_pretrained` in transformers."""
        return {
            "trust_remote_code": self.trust_remote_code,
            "revision": self.revision or "main",
            "local_files_only": self.local_files_only,
        }

    def torch_device(self) -> Any:
        """Return the torch device.

        Raises
        ------
        InputError
            If torch does not know the device, or it is not available.
        """
        import torch

        has_cuda = torch.cuda.is_available()
        if self.device == "auto":
            return torch.device("cuda" if has_cuda else "cpu")
        try:
            device = torch.device(self.device)
        except RuntimeError as error:
            raise InputError(
                f"device must be 'auto', 'cpu', 'cuda' or another device of torch; got {self.device!r}"
            ) from error
        if device.type == "cuda" and not (has_cuda and (device.index or 0) < torch.cuda.device_count()):
            raise InputError(
                f"device {self.device!r} is not available: torch finds {torch.cuda.device_count()} CUDA devices"
            )
        return device
