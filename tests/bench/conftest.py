"""The two databases that the store's tests run on, and a workload on a clock moved by hand."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench_fakes import Climb, FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def climb(clock: FakeClock) -> Climb:
    return Climb(clock)


def _server_programs() -> Path | None:
    """The newest folder that holds PostgreSQL's server programs."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True
    )
    on_path = shutil.which("initdb")
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def _server_user() -> str | None:
    """The server refuses to run as root, so root lends it another user."""
    return "nobody" if os.geteuid() == 0 else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A private server in a temporary folder, for this test session alone."""
    programs, user = _server_programs(), _server_user()
    if programs is None:
        pytest.skip("PostgreSQL's server programs (initdb, postgres) are not installed")
    with tempfile.TemporaryDirectory(prefix="etesian-postgresql-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        if user is not None:
            shutil.chown(folder, user)
        data, port = Path(folder, "data"), _free_port()

        def command(program: str, *arguments: object) -> None:
            """Run without pipes, which the server would inherit and hold open."""
            line = [str(programs / program), "-D", str(data), *map(str, arguments)]
            with open(Path(folder, "log"), "ab") as log:
                done = subprocess.run(line, user=user, cwd=folder, stdout=log, stderr=log, timeout=60, check=False)
            assert done.returncode == 0, Path(folder, "log").read_text()

        command("initdb", "-U", "etesian", "-A", "trust", "-N", "--locale=C", "-E", "UTF8")
        command("pg_ctl", "-o", f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off", "-w", "start")
        try:
            yield f"postgresql+psycopg://etesian@127.0.0.1:{port}/postgres"
        finally:
            command("pg_ctl", "-m", "immediate", "-w", "stop")


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Location of a new store, on each database in turn."""
    if request.param == "sqlite":
        yield str(tmp_path / "runs.db")
        return
    import sqlalchemy as sa

    server = request.getfixturevalue("postgresql_url")
    name = f"test_{os.getpid()}_{abs(hash(tmp_path)) % 10**9}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield server.rsplit("/", 1)[0] + f"/{name}"
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()
