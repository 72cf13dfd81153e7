"""Write the figures of docs/explanation/what-is-tested.md from the newest records of the long runs.

python benchmarks/what_is_tested.py
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "what-is-tested.md"
RESULTS = Path(__file__).parent / "results"
PARTS = ("fuzz", "exactness")


def with_figures(page: str, results: Path) -> str:
    """Return the page with each marked block replaced by the table of the newest record."""
    for part in PARTS:
        folders = sorted(folder for folder in results.glob(f"*_{part}") if (folder / "table.md").exists())
        if not folders:
            continue
        newest = folders[-1]
        block = f"{(newest / 'table.md').read_text().strip()}\n\nRecord: `benchmarks/results/{newest.name}`.\n"
        pattern = re.compile(rf"(<!-- {part}: begin -->\n).*?(<!-- {part}: end -->)", re.DOTALL)
        page = pattern.sub(lambda found, block=block: f"{found[1]}\n{block}\n{found[2]}", page)
    return page


if __name__ == "__main__":
    PAGE.write_text(with_figures(PAGE.read_text(), RESULTS))
