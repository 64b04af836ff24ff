"""Names that records bring along, made fit for file names, for pages and for spreadsheets.

A record may come from anywhere: its names are text to be shown, and nothing else.
"""

import hashlib
import re
import unicodedata

_SLUG = 40
_DIGEST = 10


def slug(*parts: str) -> str:
    """A file name (without suffix) for some texts: readable, safe everywhere, and different for different texts.

    At most 51 lower-case letters, digits and dashes: what is left of the last text, and a digest of all of them.
    """
    ascii_only = unicodedata.normalize("NFKD", parts[-1]).encode("ascii", "ignore").decode("ascii").lower()
    readable = re.sub(r"[^a-z0-9]+", "-", ascii_only)[:_SLUG].strip("-") or "unnamed"
    # Each part with its length, so that ("ab", "c") and ("a", "bc") differ; lone surrogates have no UTF-8.
    whole = "".join(f"{len(part)}:{part}" for part in parts).encode("utf-8", "surrogatepass")
    return f"{readable}-{hashlib.sha256(whole).hexdigest()[:_DIGEST]}"


def shown(text: str, longest: int = 80) -> str:
    """The text without control and direction characters, at most ``longest`` characters long."""
    visible = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return visible if len(visible) <= longest else visible[: longest - 1] + "…"
