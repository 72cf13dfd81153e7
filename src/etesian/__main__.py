"""``python -m etesian`` is the `etesian` command."""

from etesian.cli.app import app

if __name__ == "__main__":
    app()
