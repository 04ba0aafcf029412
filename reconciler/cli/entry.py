"""Where the program begins: Ctrl-C ends it with a word and its exit code while the rest is still being loaded, too."""

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
        return main()
    except KeyboardInterrupt:
        _end()
        raise
