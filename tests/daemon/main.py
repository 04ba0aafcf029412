"""A daemon as a process of its own, for signals and crashes: `python -m tests.daemon.main FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from reconciler.core.errors import ReconcilerError
from reconciler.engine.daemon import configure_logging
from reconciler.web.app import serving
from reconciler.web.metrics import Metrics
from tests.daemon.rig import Rig


def main() -> int:
    configure_logging("json", "info")
    rig = Rig(Path(sys.argv[1]), in_files=True)
    metrics = Metrics()
    daemon = rig.make(
        signals=True, serve=serving("127.0.0.1:0", metrics), reload=rig.parts, wake_file=rig.state / "wake"
    )
    try:
        return daemon.run()
    except ReconcilerError as exc:
        print(json.dumps({"event": "error", "message": exc.message}), file=sys.stderr)
        return exc.exit_code


if __name__ == "__main__":
    sys.exit(main())
