"""Mask credentials in text that is recorded or shown: command lines, messages, tracebacks."""

from __future__ import annotations

import re
from collections.abc import Sequence

MASK = "***"

_NAME = (
    r"(?:[\w.-]{0,80}(?:token|passw(?:or)?d|passphrase|secret[\w-]{0,40}|credentials?|cookie"
    r"|(?:api|access|secret|private|auth|signing|account)[_-]?key(?:[_-]id)?)|[\w.-]{0,80}[_-](?:pass|pwd))"
)
"""Names of settings, options, variables and headers that hold a credential: AWS_SECRET_ACCESS_KEY, --api-key, hf-token.

Repetitions are bounded here and below: the time stays proportional to the text.
"""
_VALUE = r"(?!\*\*\*)(?:\"[^\"]*\"|'[^']*'|[^\s&\"',;]+)"
_AUTHORIZATION = re.compile(r"(?i)\b((?:proxy-)?authorization[\"']?\s*[=:]\s*[\"']?)(?:\w+\s+)?[^\s\"',]+")
_ASSIGNED = re.compile(rf"(?i)(?<![\w.-])({_NAME}[\"']?\s*=\s*){_VALUE}")
_FIELD = re.compile(rf"(?i)(?<![\w.-])({_NAME}(?:[\"']\s*:\s*|:))(?!//){_VALUE}")
_HEADER = re.compile(
    r"(?i)(?<![\w./-])((?:[\w.-]{0,80}(?:api|access|secret|private|auth)[_-]?key|[\w.]{1,80}-token|[\w.]{1,80}[_-]secret|(?:set-)?cookie|passw(?:or)?d)"
    r":\s+)[^\s\"']+"
)
_OPTION = re.compile(rf"(?i)(?<!\S)(--?{_NAME}\s+)(?!-){_VALUE}")
_USER = re.compile(r"(?<!\S)(-[uU]\s*|--(?:proxy-)?user[=\s]\s*)([\"']?)([^\s:\"']+):[^\s\"']+")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}")
_IN_URL = re.compile(r"(?<=://)[^/\s@\"']*@")
_QUERY = re.compile(r"(?i)([?&](?:key|sig|signature|code|auth|x-amz-[a-z-]+)=)[^&\s\"']+")
_HOOK = re.compile(
    r"(?i)(https?://(?:[\w.-]{0,200}hooks?\.[\w.:-]{1,200}/|[^\s\"']{0,200}?/(?:web)?hooks?[\w-]{0,20}/|api\.telegram\.org/bot))[^\s\"']+"
)
_TOKEN = re.compile(
    r"\b(?:(?:hf|hf_oauth|gh[opsur]|github_pat|glpat|sk|pk|rk|gsk|npm|pypi|dckr_pat|nvapi|shpat|xapp|xox[a-z])[_-][\w-]{16,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{30,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+)"
)
"""Credentials that are known by how they begin: of Hugging Face, GitHub, GitLab, Slack, AWS and others; web tokens."""


def without_secrets(text: str) -> str:
    """`text` with `***` for credentials: in addresses, behind names that announce one, and known kinds of tokens."""
    text = _IN_URL.sub("", text)
    text = _HOOK.sub(rf"\1{MASK}", text)
    text = _AUTHORIZATION.sub(rf"\1{MASK}", text)
    for pattern in (_ASSIGNED, _FIELD, _HEADER, _OPTION, _BEARER, _QUERY):
        text = pattern.sub(rf"\1{MASK}", text)
    text = _USER.sub(rf"\1\2\3:{MASK}", text)
    return _TOKEN.sub(MASK, text)


def masked_command(words: Sequence[str]) -> list[str]:
    """A command line with its credentials masked, also where an option and its value are two words."""
    masked = []
    for before, word in zip(("", *words), words, strict=False):
        clean = without_secrets(word)
        if clean == word and before.startswith("-"):  # the two as one text: `--token x`, `-u user:password`
            clean = without_secrets(f"{before} {word}").removeprefix(f"{before} ")
        masked.append(clean)
    return masked
