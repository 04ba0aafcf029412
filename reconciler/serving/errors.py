"""Problems that have an answer for somebody: the client (`InputError`) or the operator (`StartError`)."""

from __future__ import annotations


class InputError(Exception):
    """A request that cannot be given to `run()`.

    Args:
        status: the HTTP status to answer with.
        message: what was wrong, for the client.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class StartError(Exception):
    """The server cannot start. `reason` is one readable line; `detail` the last lines of the traceback, or "".

    `exit_code` is 3 for what the script does wrong (as Azure ML's server exits) and 4 for what the machine refuses
    (an address in use, an unreadable key file).
    """

    def __init__(self, reason: str, detail: str = "", exit_code: int = 3) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.exit_code = exit_code
