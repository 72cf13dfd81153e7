"""Entry point of the `etesian` command and of ``python -m etesian``."""

from __future__ import annotations

import os
import signal
import sys

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line. Ctrl-C exits with code 130 from here on, even while modules are imported."""
    heeds_interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeds_interrupts:
        signal.signal(signal.SIGINT, lambda *_: os._exit(EXIT_INTERRUPTED))
    from etesian.cli.app import run

    sys.exit(run(sys.argv[1:], heeds_interrupts=heeds_interrupts))


if __name__ == "__main__":
    main()
