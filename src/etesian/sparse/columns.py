"""Recognition of the columns of users, items, ratings and times by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

ROLES = ("user", "item", "rating", "time")

_WORDS = {
    "user": "user customer client reviewer member visitor person account consumer buyer reader viewer listener player "
    "patient student author critic subscriber profile",
    "item": "item movie film product book song track artist album business game anime joke recipe restaurant article "
    "video app location venue poi place hotel course beer show series document doc content news merchant shop store sku "
    "brand podcast program",
}
_NAMES = {
    "user": "u uid who users usr userindex useridx username userkey usercode reviewername",
    "item": "i iid items asin parentasin isbn isbn10 isbn13 title movietitle booktitle itemindex itemidx itemkey "
    "itemcode itemname loc productname artistname",
    "rating": "r rating ratings score scores stars star value overall rate vote votes grade points count counts plays "
    "playcount listencount clicks quantity qty weight preference frequency bookrating movierating userrating itemrating "
    "reviewrating reviewscore reviewoverall ratingvalue ratingscore overallrating starrating interaction interactions y",
    "time": "t time timestamp ts date datetime unixtime unixtimestamp unixreviewtime reviewtime reviewdate created "
    "createdat ratedat ratingdate ratingtime updated updatedat utc tstamp when day",
}
ROLE_OF = {name: role for role, names in _NAMES.items() for name in names.split()} | {
    f"{word}{end}": role
    for role, words in _WORDS.items()
    for word in words.split()
    for end in ("", "s", "id", "ids", "no")
}


def role_of(name: str) -> str | None:
    """Return the role of a column name; case and separators are ignored."""
    return ROLE_OF.get(re.sub(r"[\W_]+", "", name).casefold())


def is_header(names: Sequence[str]) -> bool:
    """Return True if a line of fields is a header that names both a user and an item."""
    return {"user", "item"} <= {role_of(name) for name in names}


def find_columns(names: Sequence[str], *, needed: Sequence[str] = ("user", "item")) -> dict[str, int]:
    """Return the index of the column of each role.

    If several names have one role, such as "movie" and "movieId", the only one that ends in "id" is chosen.

    Raises
    ------
    ValueError
        If a required role has no column, or several.
    """
    found: dict[str, list[int]] = {role: [] for role in ROLES}
    for place, name in enumerate(names):
        role = role_of(name)
        if role is not None:
            found[role].append(place)
    columns: dict[str, int] = {}
    for role, places in found.items():
        ids = [place for place in places if names[place].strip().casefold().endswith("id")]
        chosen = places if len(places) <= 1 else ids if len(ids) == 1 else places
        if len(chosen) > 1 and role != "time":
            raise ValueError(f"several columns may be the {role}: {', '.join(repr(names[place]) for place in chosen)}")
        if chosen:
            columns[role] = chosen[0]
    missing = [role for role in needed if role not in columns]
    if missing:
        raise ValueError(f"no column name is recognized as {' or '.join(missing)}")
    return columns


def chosen_columns(wanted: Mapping[str, str], names: Sequence[str] | None, n_columns: int) -> dict[str, int]:
    """Return the indices of columns given by name or by number from 1.

    Parameters
    ----------
    wanted
        Names or numbers by role.
    names
        Header, or None.
    n_columns
        Number of columns of the table.
    """
    if not {"user", "item"} <= wanted.keys() <= set(ROLES):
        raise ValueError(
            f"columns must name user and item, and may name rating and time; got {', '.join(wanted) or 'none'}"
        )
    places = {}
    for role, name in wanted.items():
        if names is not None and name in names:
            places[role] = names.index(name)
        elif name.isdecimal() and 1 <= int(name) <= n_columns:
            places[role] = int(name) - 1
        else:
            has = (
                f"the columns {', '.join(map(repr, names))}" if names is not None else f"{n_columns} columns, no header"
            )
            raise ValueError(
                f"columns names {role}={name}; the table has {has}. Use a name or a number from 1 to {n_columns}"
            )
    if len(set(places.values())) < len(places):
        raise ValueError(f"columns must name different columns; got {dict(wanted)}")
    return places


def parse_columns(text: str) -> dict[str, str]:
    """Read ``user=NAME,item=NAME,rating=NAME``.

    Raises
    ------
    ValueError
        If the text is not of this form.
    """
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(equals and role.strip() in ROLES and name.strip() for role, equals, name in pairs):
        raise ValueError(f"columns must have the form user=NAME,item=NAME,rating=NAME; got {text!r}")
    columns = {role.strip(): name.strip() for role, _, name in pairs}
    if len(columns) < len(pairs):
        raise ValueError(f"columns must name each of {', '.join(columns)} once; got {text!r}")
    return columns
