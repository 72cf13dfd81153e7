"""Addresses of stores. Their text hides user names, passwords and options, so that messages and pages never show them."""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy as sa

from etesian.bench.errors import InputError

HIDDEN = "***"

_CREDENTIALS = re.compile(r"(?<=://)[^\s'\"]*@")
_QUERY = re.compile(r"(://[^\s'\"?]*)\?[^\s'\"]*")


class StoreAddress:
    """Path of an SQLite file, or database URL.

    Parameters
    ----------
    location
        Path, SQLAlchemy URL or other address.
    """

    __slots__ = ("_location",)

    def __init__(self, location: str | Path) -> None:
        self._location = str(location)

    @classmethod
    def of(cls, location: str | Path | StoreAddress) -> StoreAddress:
        """Return the address of a location, or the address itself."""
        return location if isinstance(location, StoreAddress) else cls(location)

    def __str__(self) -> str:
        """Return the path, or the URL without user info and query."""
        if not self.is_url:
            return self._location
        scheme, _, rest = self._location.partition("://")
        if "?" in rest.rpartition("@")[0]:  # either may belong to a password
            return f"{scheme}://{HIDDEN}"
        place, has_query, _ = rest.rpartition("@")[2].partition("?")
        return f"{scheme}://{f'{HIDDEN}@' if '@' in rest else ''}{place}{f'?{HIDDEN}' if has_query else ''}"

    def __repr__(self) -> str:
        return f"StoreAddress({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoreAddress) and self._location == other._location

    def __hash__(self) -> int:
        return hash(self._location)

    @property
    def is_url(self) -> bool:
        """True for a database URL."""
        return "://" in self._location

    @property
    def path(self) -> Path | None:
        """Path of the file; None for a URL."""
        return None if self.is_url else Path(self._location)

    @property
    def name(self) -> str:
        """Name of the file without its extension, or of the database."""
        if self.path is not None:
            return self.path.stem
        return Path(self.url().database or "store").stem

    def url(self) -> sa.URL:
        """Return the URL for SQLAlchemy, with all credentials.

        Raises
        ------
        InputError
            If the address is not a valid URL.
        """
        if not self.is_url:
            return sa.URL.create("sqlite", database=self._location)
        try:
            url = sa.make_url(self._location)
        except (sa.exc.ArgumentError, ValueError):
            raise InputError("the store must be a path or a URL such as postgresql+psycopg://host/database") from None
        return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgresql", "postgres") else url

    def hide_in(self, text: str) -> str:
        """Return a message of a database driver without the user name, the password and the options of this address."""
        if not self.is_url:
            return text
        try:
            url = self.url()
        except InputError:
            return hide_credentials(text)
        secrets = [str(url.password or ""), *(str(each) for each in url.query.values())]
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, text)
        return text if not url.username else text.replace(f'"{url.username}"', f'"{HIDDEN}"')


def hide_credentials(text: str) -> str:
    """Return a message with the user info and the query of every URL hidden."""
    return _QUERY.sub(rf"\1?{HIDDEN}", _CREDENTIALS.sub(f"{HIDDEN}@", text))
