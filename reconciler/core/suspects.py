"""What looks like a secret, by a variable's name or by the form of its text."""

from __future__ import annotations

import re

# Words at the end of a variable's name; `TOKENIZERS_PARALLELISM`, `MAX_TOKENS` and `KEYBOARD` are no secrets.
_SECRET_END = re.compile(
    r"(^|[_a-z0-9])(PASSWORD|PASSWD|PWD|PASSPHRASE|SECRET|SECRETS|TOKEN|KEY|APIKEY|CREDENTIAL|CREDENTIALS|SAS)$"
)
_SECRET_ANYWHERE = re.compile(r"PASSWORD|CONNECTION_?STRING|CLIENT_?SECRET|PRIVATE_?KEY|ACCESS_?KEY")
_PUBLIC = re.compile(r"PUBLIC_?KEY$")
_SPLIT_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
CREDENTIALS_IN_TEXT = re.compile(
    r"://[^/\s:@]*:[^/\s@]+@|(AccountKey|InstrumentationKey|SharedAccessKey|SharedAccessSignature|Password|Pwd)=[^;\s]|[?&](sig|X-Amz-Signature)=",
    re.IGNORECASE,
)


def looks_secret(name: str, value: str) -> bool:
    """Whether a literal under this name, or of this form, is most likely a secret."""
    if CREDENTIALS_IN_TEXT.search(value):
        return True
    if value.lower() in ("", "true", "false"):
        return False
    upper = _SPLIT_CAMEL.sub("_", name).upper()
    if _PUBLIC.search(upper):
        return False
    return bool(_SECRET_END.search(upper) or _SECRET_ANYWHERE.search(upper))


_LONG = re.compile(r"[A-Za-z0-9+/_=.~-]{20,}")
_KNOWN_FORMS = re.compile(r"-----BEGIN|^(eyJ|sk-|ghp_|gho_|github_pat_|glpat-|xox[abp]-|AKIA|AIza)")
_HINTS = re.compile(r"PASS|PWD|SECRET|TOKEN|CREDENTIAL|AUTH|APIKEY|API_KEY|PRIVATE|DSN|SIGNATURE")


def may_be_secret(name: str, value: str) -> bool:
    """Whether a variable that somebody else set may be a secret; what is not one for certain counts.

    A text of twenty characters or more without blanks that mixes letters and digits, and is no path, may be a key.
    """
    if looks_secret(name, value) or _KNOWN_FORMS.search(value):
        return True
    if value.lower() in ("", "true", "false") or value.isdecimal():
        return False
    if _HINTS.search(_SPLIT_CAMEL.sub("_", name).upper()):
        return True
    mixed = any(each.isdigit() for each in value) and any(each.isalpha() for each in value)
    return bool(_LONG.fullmatch(value)) and mixed and not value.startswith(("/", "./"))
