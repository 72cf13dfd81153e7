"""The store of runs: an SQLite file, or any database by URL, with one transaction per run."""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from etesian._shared.limits import LINE_BYTES, limit_of
from etesian.bench.address import StoreAddress
from etesian.bench.errors import AlreadyStoredError, InputError
from etesian.bench.record import Outcome, Run, StoredRun
from etesian.bench.workload import Target
from etesian.errors import StorageError

FORMAT_VERSION = 1
"""Version of the tables, and of the record in each row."""

_LOCK_SECONDS = 60  # that one SQLite writer waits for another
_STORAGE_ERRORS = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN")
_DAMAGED = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)

_TABLES = sa.MetaData()
_FORMAT = sa.Table(
    "etesian_format",
    _TABLES,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),
)
_RUNS = sa.Table(
    "etesian_runs",
    _TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("suite", sa.Text, nullable=False),
    sa.Column("workload", sa.Text, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("budget_seconds", sa.Float(53), nullable=True),
    sa.Column("record", sa.Text, nullable=False),
    sa.UniqueConstraint("suite", "workload", "seed", "target", name="etesian_runs_key"),
)


class Ending(NamedTuple):
    """Outcome and budget of a stored run."""

    outcome: Outcome
    budget_seconds: float | None


class Store:
    """A database of runs, one for each suite, workload, seed and target.

    Parameters
    ----------
    location
        Path of an SQLite file, or an SQLAlchemy URL such as ``postgresql+psycopg://user@host/database``. Messages show it
        without the user name, the password and the options.
    create
        If True, make the file and the tables if they do not exist.

    Raises
    ------
    InputError
        If the store does not exist, cannot be opened, or has the format of another version.

    Notes
    -----
    Several processes can write to one store. Use it in a ``with`` block, or call `close`. A damaged record is left out when runs
    are read, and a warning on the logger ``etesian`` names it.
    """

    def __init__(self, location: str | Path | StoreAddress, *, create: bool = True) -> None:
        self.location = StoreAddress.of(location)
        self._engine = _engine(self.location, create=create)
        with self._plain_errors():
            self._check_encoding()
            version = self._format_version()
            if version is None and create:
                self._create_tables()
                version = self._format_version()
        if version is None:
            self.close()
            raise InputError(f"{self.location} is not a store of runs; `etesian bench run` makes one")
        if version != FORMAT_VERSION:
            self.close()
            raise InputError(
                f"the store {self.location} has format {version} and this version of Etesian reads {FORMAT_VERSION}; "
                "export it with the version that wrote it, and import that"
            )

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the connections."""
        self._engine.dispose()

    def add(self, run: Run, *, suite: str, replace: bool = False) -> None:
        """Add one run, in its own transaction.

        Parameters
        ----------
        run
            Run to add.
        suite
            Name of its suite.
        replace
            If True, replace a stored run of the same suite, workload, seed and target.

        Raises
        ------
        AlreadyStoredError
            If there is such a run and `replace` is False.
        """
        row = _as_row(StoredRun(suite, run))
        try:
            with self._plain_errors(), self._engine.begin() as connection:
                if replace:
                    connection.execute(sa.delete(_RUNS).where(*_same_key(row)))
                connection.execute(sa.insert(_RUNS).values(row))
        except sa.exc.IntegrityError:
            raise AlreadyStoredError(f"{self.location} already holds {_named(row)}") from None

    def add_all(self, entries: Iterable[StoredRun]) -> tuple[int, int]:
        """Add all of these runs or, after an error, none.

        Returns
        -------
        added : int
            Number of new runs.
        already_there : int
            Number of runs that the store already held, equal in every field.

        Raises
        ------
        AlreadyStoredError
            If the store holds a different run of the same suite, workload, seed and target.
        """
        added = already_there = 0
        with self._plain_errors(), self._engine.begin() as connection:
            for row in map(_as_row, entries):
                held = connection.scalar(sa.select(_RUNS.c.record).where(*_same_key(row)))
                if held is None:
                    connection.execute(sa.insert(_RUNS).values(row))
                    added += 1
                elif held == row["record"]:
                    already_there += 1
                else:
                    raise AlreadyStoredError(f"{self.location} already holds {_named(row)}, and it differs")
        return added, already_there

    def entries(
        self, suite: str | None = None, *, workload: str | None = None, target: Target | None = None
    ) -> list[StoredRun]:
        """Return runs with the names of their suites, in the order in which they were added; None selects all."""
        wanted = {"suite": suite, "workload": workload, "target": None if target is None else str(target)}
        record = sa.case((sa.func.length(_RUNS.c.record) <= limit_of(LINE_BYTES), _RUNS.c.record)).label("record")
        query = sa.select(_RUNS.c.id, _RUNS.c.suite, record).order_by(_RUNS.c.id)
        for column, value in wanted.items():
            if value is not None:
                query = query.where(_RUNS.c[column] == value)
        with self._plain_errors(), self._engine.connect() as connection:
            return [entry for row in connection.execute(query) if (entry := self._entry_of(row)) is not None]

    def _entry_of(self, row: Any) -> StoredRun | None:
        """Return a stored run; name a damaged record, and return None for it."""
        try:
            if not isinstance(row.suite, str):
                raise TypeError("its suite is not text")
            if row.record is None:
                raise ValueError(f"it is missing or larger than {limit_of(LINE_BYTES):,} characters")
            return StoredRun(row.suite, Run.from_dict(json.loads(row.record)))
        except _DAMAGED as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
            logging.getLogger("etesian").warning(
                "note: record %s of the store %s is damaged and left out: %s", row.id, self.location, reason[:300]
            )
            return None

    def runs(self, suite: str | None = None, *, workload: str | None = None, target: Target | None = None) -> list[Run]:
        """Return runs in the order in which they were added; None selects all."""
        return [run for _, run in self.entries(suite, workload=workload, target=target)]

    def endings(self, suite: str, target: Target) -> dict[tuple[str, int], Ending]:
        """Return outcome and budget of the stored runs of a suite and a target, by workload and seed."""
        query = sa.select(_RUNS.c.workload, _RUNS.c.seed, _RUNS.c.outcome, _RUNS.c.budget_seconds)
        query = query.where(_RUNS.c.suite == suite, _RUNS.c.target == str(target))
        with self._plain_errors(), self._engine.connect() as connection:
            return {
                (row.workload, row.seed): Ending(row.outcome, row.budget_seconds) for row in connection.execute(query)
            }

    def codes(self, suite: str, target: Target) -> dict[tuple[str, str], int]:
        """Count the runs of a suite and a target by workload and digest of its code, where that is recorded."""
        counts: dict[tuple[str, str], int] = {}
        for run in self.runs(suite, target=target):
            if run.code:
                counts[run.workload, run.code] = counts.get((run.workload, run.code), 0) + 1
        return counts

    def state(self) -> str:
        """Return a text that differs after any run was added or replaced, without reading all runs."""
        query = sa.select(_RUNS.c.id, _RUNS.c.record).order_by(_RUNS.c.id.desc()).limit(1)
        with self._plain_errors(), self._engine.connect() as connection:
            count = connection.scalar(sa.select(sa.func.count()).select_from(_RUNS))
            newest = connection.execute(query).first()  # replacements come last too, and started at another time
        record = "" if newest is None else f"{newest.id} {newest.record}"
        digest = hashlib.sha256(record.encode(errors="surrogateescape")).hexdigest()
        return f"{count}-{digest[:16]}"

    def _format_version(self) -> int | None:
        """Return the version of the tables; None if there are none."""
        inspector = sa.inspect(self._engine)
        if not inspector.has_table(_FORMAT.name):
            return None
        if self._engine.dialect.name == "sqlite" and not {_FORMAT.name, _RUNS.name} <= set(inspector.get_table_names()):
            return None  # views may compute without end
        with self._engine.connect() as connection:
            return connection.scalar(sa.select(_FORMAT.c.version))

    def _create_tables(self) -> None:
        try:
            with self._engine.begin() as connection:
                for table in (_RUNS, _FORMAT):
                    connection.execute(CreateTable(table, if_not_exists=True))
                connection.execute(sa.insert(_FORMAT).values(id=1, version=FORMAT_VERSION))
        except sa.exc.DBAPIError as error:
            # Another process may have made the tables at the same moment.
            if self._format_version() is not None:
                return
            if isinstance(error, sa.exc.IntegrityError):
                raise InputError(f"{self.location} is not a store of runs, though it has some of its tables") from None
            raise

    def _check_encoding(self) -> None:
        """Refuse a PostgreSQL database that stores bytes instead of text."""
        if self._engine.dialect.name != "postgresql":
            return
        with self._engine.connect() as connection:
            encoding = connection.scalar(sa.text("SHOW server_encoding"))
        if str(encoding) == "SQL_ASCII":
            self.close()
            raise InputError(
                f"the store {self.location} has the encoding SQL_ASCII, which cannot hold text reliably; create the database with "
                "ENCODING 'UTF8' TEMPLATE template0"
            )

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        """Turn database errors into one line that states the reason."""
        try:
            yield
        except MemoryError as error:
            raise InputError(f"the store {self.location} cannot be used: a record is too large") from error
        except UnicodeDecodeError as error:  # SQLite's own message about a damaged file
            raise InputError(f"the store {self.location} cannot be used: its file is damaged") from error
        except sa.exc.DBAPIError as error:
            if isinstance(error, sa.exc.IntegrityError):
                raise
            reason = self.location.hide_in(str(error.orig).strip().partition("\n")[0])
            is_storage = isinstance(error.orig, sqlite3.Error) and error.orig.sqlite_errorname.startswith(
                _STORAGE_ERRORS
            )
            kind = StorageError if is_storage else InputError
            # The driver's error of a URL, which may quote its options, is not chained.
            raise kind(f"the store {self.location} cannot be used: {reason}") from (
                None if self.location.is_url else error
            )


def _engine(address: StoreAddress, *, create: bool) -> sa.Engine:
    """Make the engine for an address. Nothing is opened yet, but a missing file is refused."""
    url = address.url()
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or ":memory:")
        if not create and not path.is_file():
            raise InputError(f"there is no store at {path}; `etesian bench run` makes one")
        if create and not path.parent.is_dir():
            raise InputError(f"the store's folder must exist; there is no {path.parent}")
        engine = _made(url, address, {"timeout": _LOCK_SECONDS})
        sa.event.listen(engine, "connect", _accept_damaged_text)
        return engine
    arguments = {"client_encoding": "utf8"} if url.drivername == "postgresql+psycopg" else {}
    return _made(url, address, arguments)


def _made(url: sa.URL, address: StoreAddress, arguments: dict[str, Any]) -> sa.Engine:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", sa.exc.SAWarning)  # about options that a driver ignores
            return sa.create_engine(url, connect_args=arguments)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{url.drivername} needs the package {error.name}; for PostgreSQL: pip install 'etesian[postgresql]'"
        ) from error
    except sa.exc.NoSuchModuleError:
        raise InputError(
            f"the store must be a path or a database URL that SQLAlchemy supports; got {address}"
        ) from None
    except (ValueError, TypeError, sa.exc.ArgumentError, sa.exc.SAWarning):
        raise InputError(f"the options of the store's URL are not valid: {address}") from None


def _accept_damaged_text(connection: Any, _: Any) -> None:
    """Let SQLite return text that is not UTF-8, so that one damaged record does not hide the others."""
    connection.text_factory = lambda content: content.decode(errors="surrogateescape")


def _as_row(entry: StoredRun) -> dict[str, Any]:
    run = entry.run
    return {
        "suite": entry.suite,
        "workload": run.workload,
        "seed": run.seed,
        "target": str(run.target),
        "outcome": run.outcome,
        "budget_seconds": run.budget_seconds,
        "record": json.dumps(run.as_dict(), allow_nan=False),
    }


def _same_key(row: dict[str, Any]) -> list[sa.ColumnElement[bool]]:
    return [_RUNS.c[column] == row[column] for column in ("suite", "workload", "seed", "target")]


def _named(row: dict[str, Any]) -> str:
    return f"a run of {row['workload']} in {row['suite']} with seed {row['seed']} and target {row['target']}"
