"""The operator's settings: what pull-request authors cannot change.

They come from a YAML file and from `RECONCILER_*` variables, which win. Keys are camelCase in the file, and the same
words in capitals in variables (`repo.pollSeconds`, `RECONCILER_REPO__POLL_SECONDS`). What a setting's description says
is what docs/settings.md says. Importing this module loads pydantic: an offline plan without settings leaves it alone.
"""

from reconciler.settings.model import OTHER_VARIABLES, PREFIX, SEPARATOR, Setting, Settings, every_setting
from reconciler.settings.reading import settings_of, stray_variables

__all__ = [
    "OTHER_VARIABLES",
    "PREFIX",
    "SEPARATOR",
    "Setting",
    "Settings",
    "every_setting",
    "settings_of",
    "stray_variables",
]
