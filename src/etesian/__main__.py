"""Entry point of the `etesian` command and of ``python -m etesian``: Ctrl-C exits with code 130 from the first instruction on."""

import _signal  # type: ignore[import-not-found]  # built in; importing `signal` takes milliseconds, too late for the handler
import os
import sys

EXIT_INTERRUPTED = 130


def _exit_at_once(*_: object) -> None:
    os._exit(EXIT_INTERRUPTED)


HANDLES_INTERRUPTS = _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
if (
    HANDLES_INTERRUPTS
):  # here, since the scripts that installers write have work to do between the import and the call of `main`
    _signal.signal(_signal.SIGINT, _exit_at_once)
    import atexit  # after the handler, since an import takes time

    # The last function at exit. Python then restores the default action, which would end a finished command by the signal.
    atexit.register(_signal.signal, _signal.SIGINT, _signal.SIG_IGN)


def main() -> None:
    """Run the command line. Until a command takes over, Ctrl-C ends the process at once."""
    from etesian.cli.app import run

    sys.exit(run(sys.argv[1:], handles_interrupts=HANDLES_INTERRUPTS))


if __name__ == "__main__":
    main()
