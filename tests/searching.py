"""How deeply properties are searched."""

from __future__ import annotations

import os

# Where a change is judged, the same examples are tried each time, so that it is judged by what it changes; new ones are
# looked for everywhere else.
SAME_EACH_TIME = "RECONCILER_TEST_REQUIRE" in os.environ


def deeply(examples: int) -> int:
    """So many examples; a quarter where they are the same each time, since more of those find nothing new."""
    return examples // 4 if SAME_EACH_TIME else examples
