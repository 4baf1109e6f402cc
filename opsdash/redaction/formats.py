"""What a secret looks like by itself: addresses with a password, keys in their providers' formats, PEM, JWT, hashes.

The formats of providers follow ``detect-secrets``; a test generates samples from its rules. It is not used itself:
CONTRIBUTING.md says why. Each part takes time in proportion to the text, whatever it is.
"""

from __future__ import annotations

import re

_APART = r"(?<![A-Za-z0-9])"
_KEYS = (
    r"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}"  # AWS
    r"|(?:sk|pk|rk|ghp|gho|ghu|ghs|ghr|(?i:xox[a-z])|SG)[-_.][\w.-]{8,}"  # Stripe, OpenAI, GitHub, Slack, SendGrid
    r"|gl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent|oas|ffct)-[\w-]{8,}|GR1348941[\w-]{20}"  # GitLab
    r"|github_pat_\w{20}|xapp-\d|whsec_\w{8}|npm_\w{20}|pypi-[\w-]{16}|hf_\w{16}|dckr_pat_|do[opr]_v1_"
    r"|AIza[\w-]{30}|ya29\.[\w-]{8}|GOCSPX-|1//0[\w-]{20}"  # Google
    r"|key-[0-9a-f]{32}|[0-9a-z]{32}-us\d|(?:AC|SK)[a-z0-9]{32}"  # Mailgun, Mailchimp, Twilio
    r"|sq0[a-z]{3}-|EAA[A-Za-z0-9]{30}|shp(?:at|ca|pa|ss)_|ATATT3|ATBB[A-Za-z0-9]{16}"  # Square, Facebook, Shopify …
    r"|\d{8,10}:[\w-]{35}|[MNO][\w-]{23,25}\.[\w-]{6}\.[\w-]{27}"  # Telegram, Discord
    r"|hv[bsr]\.[\w-]{16}|s\.[A-Za-z0-9]{24}|dapi[0-9a-f]{32}|dp\.(?:pt|st|ct|sa)\.|[A-Za-z0-9]{14}\.atlasv1\."
    r"|lin_api_|PMAK-|NRAK-|gls[a]_|glc_|pscale_|sbp_|sntry[su]_|rubygems_|AGE-SECRET-KEY-|HRKU-|SSWS\s"
    r"|AKC[A-Za-z0-9]{10}|AP[\dABCDEF][a-zA-Z0-9]{8,}(?=[\s\"]|\Z)"  # Artifactory
    r"|eyJ[\w-]{8}"  # a JSON Web Token, or any JSON in base 64
    r"|pbkdf2[_:][\w-]+[$:]|scrypt[$:]"
)
_TEXTS = (
    r"-----BEGIN|PuTTY-User-Key-File"
    r"|BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY"
    r"|\$(?:2[abxy]?|[156y]|argon2\w*|pbkdf2[\w-]*|scrypt)\$"
    r"|(?i:hooks\.slack\.com/(?:services|workflows)/|discord(?:app)?\.com/api/webhooks/|webhook\.office\.com/)"
    r"|api\.softlayer\.com/soap/v3(?:\.1)?/[a-z0-9]{32}"
    r"|(?i:\bthin:[^\s/@:]{1,128}/[^\s@]{1,256}@)"  # Oracle
    r"|(?<![\w.-])[\w.-]{1,64}:[^\s@/]{1,256}@(?:tcp|unix)\("  # Go's way to MySQL
)
_REST = r"(?s:.*)"
ADDRESS = re.compile(r"://(?:[^\s/@:]{0,128}:(?!\d{1,5}(?:[/?#\s\"',;]|\Z))[^\s@]{1,512}+|[\w.~%+-]{16,256})@")
"""An address with a password in it, or with a user's name as long as a key."""
_SCHEMES = "bearer|basic|token|digest|negotiate|apikey"
_SCHEME = re.compile(
    rf"\A(?:{_SCHEMES})\s+(?!\(hidden\)){_REST}|\bbearer\s+(?!\(hidden\))[^\s\"']+"
    r"|\b(?:basic|token)\s+(?=[^\s]{0,200}[0-9=])[^\s\"']{8,}",
    re.IGNORECASE,
)
_QUERY = re.compile(r"(?<=[?&;])(?:sig|signature|key|x-amz-[\w-]+|x-goog-[\w-]+)=(?!\(hidden\))[^&\s]+", re.IGNORECASE)
_PEM = re.compile(rf"-----BEGIN{_REST}")
_TEXT = re.compile(rf"(?:{_TEXTS})[^\s\"']*")
_KEY = re.compile(rf"{_APART}(?:{_KEYS})[^\s\"',;]*")
FORMATS = (_PEM, _SCHEME, _QUERY, _TEXT, _KEY)
MAYBE = re.compile(
    rf"[\w.~+/-]{{11}}|[:=>$%{{\[\"]|(?:\A|\s)-|\A(?i:{_SCHEMES})\s|(?i:bearer)\s|PRIVATE",
)
"""What every secret has something of; most settings don't, and are done with."""
_SIGNS = (
    "$",
    "-----",
    "private key",
    "putty",
    "/services/",
    "/workflows/",
    "hook",
    "softlayer",
    "thin:",
    "@tcp(",
    "@unix(",
)
_SIGN = re.compile("|".join(map(re.escape, _SIGNS)))


def is_format(text: str) -> bool:
    """Whether a secret in a known format is in a text."""
    if "://" in text and (end := text.rfind("@")) > 0 and ADDRESS.search(text, 0, end + 1) is not None:
        return True
    if _KEY.search(text) is not None:
        return True
    if "=" in text and _QUERY.search(text) is not None:
        return True
    if " " in text and _SCHEME.search(text) is not None:
        return True
    return _SIGN.search(text.lower()) is not None and (_TEXT.search(text) is not None or _PEM.search(text) is not None)
