"""``python -m etesian`` is the `etesian` command."""

from etesian.cli import app

if __name__ == "__main__":
    app()
