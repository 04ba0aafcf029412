"""Where the program begins: Ctrl-C ends it with a word and its exit code while the rest is still being loaded, too."""

import atexit
import gc
import os

# As in `cli.exits`, which is not loaded yet.
_INTERRUPTED = 130


def _end(*_: object) -> None:
    # Not an exception: modules that are half loaded turn it into others, and there is nothing to clean up yet.
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(_INTERRUPTED)


try:
    import signal
except KeyboardInterrupt:
    _end()
    raise


def run() -> int:
    """Runs one command; its exit code."""
    # A shell starts what runs in the background with interrupts ignored: that stays as it is.
    asked = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if asked:
        signal.signal(signal.SIGINT, _end)
    from reconciler.cli.main import main

    try:
        if asked:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = main()
    except KeyboardInterrupt:
        _end()
        raise
    if _short():
        # What it held is given back with the process, which takes a tenth of the time of a plan when done one by one.
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
        os._exit(code)
    return code


def _short() -> bool:
    """Whether nothing is under way any more: the command never asked for the collector, and left no thread behind."""
    import threading

    return not gc.isenabled() and threading.active_count() == 1
