"""`python -m reconciler.serving`, and `python <folder>/reconciler/serving` for a copied tree."""

import sys

if not __package__:
    from pathlib import Path

    # Run as a folder: Python put this folder first on the path, where `keys` or `metrics` would shadow the
    # script's own modules. The tree's root is what belongs there.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from reconciler.serving.cli import main

if __name__ == "__main__":
    sys.exit(main())
