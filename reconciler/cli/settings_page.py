"""docs/settings.md, made from the settings themselves: `python -m reconciler.cli.settings_page > docs/settings.md`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from reconciler.settings import PREFIX, SEPARATOR, Setting, Settings, every_setting

_HEAD = f"""# Settings

What the operator decides, apart from the manifest repo: pull-request authors cannot change it.

`--settings FILE` of a command, or the variable `RECONCILER_SETTINGS`, names a YAML file. A setting is also a variable,
which wins over the file: `repo.pollSeconds` is `{PREFIX}REPO{SEPARATOR}POLL_SECONDS`; lists are JSON there. Nothing has
to be set. Unknown keys are errors with their place in the file. Options of a command (`--repo`, `--ref`, `--path`,
`--state-dir`) win over both. SIGHUP makes the daemon read them again.

```yaml
repo:
  url: https://git.example/team/models.git
  ref: main
  passwordEnv: ML_GIT_TOKEN          # names the variable; the token itself never stands in a file
secrets:
  envPrefixes: [ML_]                 # manifests may say `valueFrom: {{env: ML_…}}`
rails:
  maxDeletePercent: 20
```
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    group = ""
    for setting in every_setting():
        name = setting.path[0] if len(setting.path) > 1 else ""
        if name != group or not name:
            group = name
            parts.append(_title(setting))
        parts.append(_entry(setting))
    return "\n".join(parts)


def _title(setting: Setting) -> str:
    if len(setting.path) == 1:
        return f"## {setting.key}\n"
    about = Settings.model_fields[setting.path[0]].description or ""
    return f"## {setting.path[0]}\n\n{about}\n"


def _entry(setting: Setting) -> str:
    lines = [
        f"### `{setting.key}`" if len(setting.path) > 1 else "",
        setting.about,
        "",
        f"- Type: {setting.type}",
        f"- Default: {_default(setting.default)}",
        f"- Variable: `{setting.variable}`",
    ]
    return "\n".join(line for index, line in enumerate(lines) if line or index) + "\n"


def _default(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case tuple():
            return f"`{list(value)}`".replace("'", '"')  # pyright: ignore[reportUnknownArgumentType]
        case float() if value.is_integer():
            return f"{value:.0f}"
        case str():
            return f"`{value}`" if value else "empty"
        case Path():
            return f"`{value}`"
        case _:
            return str(value)


if __name__ == "__main__":
    sys.stdout.write(page())
