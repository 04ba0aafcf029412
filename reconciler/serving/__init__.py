"""The scoring runtime: serves an Azure ML style entry script (`init()`, `run(data)`) over HTTP.

It is installed into, or copied beside, the *user's* environment, so it imports nothing of the rest of
`reconciler` and needs only what `REQUIREMENTS` lists. httptools and uvloop are used where they are present.

    python -m reconciler.serving --entry score.py --source-dir ./src --port 8890

The flow of one request, in the order of the modules: `protocol` (bytes to a request, timeouts of stalled peers),
`app` (routes), `score` (keys, limits, body), `runner` (the thread that calls `run`), `inputs` (body to arguments),
`outputs` (return value to answer). `server` owns the listeners and the drain, `control` talks to a supervisor,
`parent` starts several workers, `standins` lets scripts of the retired SDK import what they used to.
"""

from typing import Final

RUNTIME_VERSION: Final = "1.0.0"
"""Version of the runtime's behaviour: part of an image's or environment's identity."""

REQUIREMENTS: Final = ("anyio>=4.9", "starlette>=0.49.1", "uvicorn>=0.51")
"""What the user's environment has to hold, as PEP 508 strings."""

SPEED_REQUIREMENTS: Final = (
    'httptools>=0.6.4; sys_platform != "win32"',
    'uvloop>=0.21; sys_platform != "win32" and platform_python_implementation == "CPython"',
)
"""Used where present: twice the requests per second. The runtime works without."""

RAW_REQUIREMENTS: Final = ("werkzeug>=3.1",)
"""Needed in addition by scripts that import `AMLRequest`, `AMLResponse` or `rawhttp`."""
