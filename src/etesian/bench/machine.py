"""Description of the machine: processor, memory, system and versions of packages, without importing them."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("etesian", "numpy", "scipy", "numba", "scikit-learn", "torch", "transformers", "jax")
"""Packages whose versions influence the speed of runs."""


def describe() -> dict[str, Any]:
    """Describe this machine in its present state.

    Returns
    -------
    dict
        ``cpu``, ``cores`` (available to this process), ``memory_bytes``, ``os``, ``architecture``, ``python``,
        ``packages`` (name to version), ``gpus`` (only if torch is already imported), ``git_commit`` (of the current
        folder, with the suffix ``-dirty`` if files differ) and ``load_average`` (1, 5 and 15 minutes). Unknown values
        are None. The host name is left out, as records are often published.
    """
    return {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "memory_bytes": _memory_bytes(),
        "os": platform.platform(),
        "architecture": platform.machine(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": dict(_package_versions()),
        "gpus": gpus(),
        "git_commit": _git_commit(),
        "load_average": load_average(),
    }


def usable_cores() -> int:
    """Return the number of cores available to this process, by its affinity and the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota(Path("/sys/fs/cgroup/cpu.max"))
    return cores if quota is None else max(1, min(cores, round(quota)))


def load_average() -> list[float] | None:
    """Return the mean number of active processes over the last 1, 5 and 15 minutes; None if unknown."""
    try:
        return list(os.getloadavg())
    except OSError:
        return None


def gpus() -> list[str]:
    """Return the names of the GPUs, if PyTorch is imported and uses them."""
    torch = sys.modules.get("torch")
    # Importing torch takes seconds, and initializing CUDA would occupy a GPU.
    if torch is None or not torch.cuda.is_initialized():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _cgroup_quota(path: Path) -> float | None:
    """Parse a quota such as ``"max 100000"`` or ``"150000 100000"`` (quota and period)."""
    try:
        quota, period = path.read_text().split()
        return float(quota) / float(period) if quota != "max" else None
    except (OSError, ValueError):
        return None


def _cpu_model() -> str | None:
    if sys.platform == "darwin":
        return _output_of("sysctl", "-n", "machdep.cpu.brand_string")
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, None) or platform.processor() or None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None


@functools.cache  # reading the metadata takes several milliseconds
def _package_versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _git_commit() -> str | None:
    return _output_of("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _output_of(program: str, *arguments: str) -> str | None:
    """Return the output of a program; None if it is not installed, fails or takes too long."""
    path = shutil.which(program)
    if path is None:
        return None
    try:
        done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
