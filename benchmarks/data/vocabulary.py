"""Class names and prompt templates: what a zero-shot classifier is made of.

A data set knows its classes by keys (folders, labels, WordNet ids); a text encoder needs names, and sentences to put
them in. Names move scores by points, so each data set has one shipped list, the one that SLIP, A-CLIP and DetailCLIP
evaluate with (mistakes included), and a user may bring another. ``docs/prompts.md`` tells where each comes from.

The form of a file, shipped or a user's::

    {"source": "...", "templates": ["a photo of a {}."], "classes": {"<key>": "<name>" or ["<name>", ...], ...}}

The order of the classes is that of the labels.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.data.root import is_sample
from benchmarks.errors import DataError, OptionError
from benchmarks.files import write_text

FILE_NAME = "vocabulary.json"
"""Where a generated data set keeps its own vocabulary, inside its folder."""

PLACE = "{}"
"""Where a template takes the name."""

_SHIPPED = Path(__file__).parent / "vocabularies"
_FIELDS = ("source", "templates", "classes")
_HELP = "docs/prompts.md shows the form"

Names = tuple[tuple[str, ...], ...]


class _FormError(ValueError):
    """A file does not follow the form; the message says where."""


@dataclass(frozen=True)
class Vocabulary:
    """The classes of a data set in the order of their labels, and the sentences that name them.

    Attributes:
        dataset: name of the data set in the suite.
        keys: C distinct names by which the data set itself knows its classes (``n01440764``, ``/a/abbey``, ``00012``).
        names: C times the name or names that are put into the templates.
        templates: texts, each with one ``{}``.
        source: where names and templates come from.
    """

    dataset: str
    keys: tuple[str, ...]
    names: Names
    templates: tuple[str, ...]
    source: str

    def prompts(self, label: int) -> list[str]:
        """Every name of a class (0 to C - 1) in every template; the templates change fastest."""
        return [template.replace(PLACE, name) for name in self.names[label] for template in self.templates]

    @property
    def names_digest(self) -> str:
        """The first 16 hexadecimal digits of the sha256 over the C entries, joined by newlines, in UTF-8.

        A class with several names is one entry, in which tabs part them (no name holds a tab or newline).
        """
        return _digest("\t".join(names) for names in self.names)

    @property
    def templates_digest(self) -> str:
        """The same over the templates."""
        return _digest(self.templates)


@cache
def shipped(dataset: str) -> Vocabulary:
    """The list that the paper's numbers were made with.

    Args:
        dataset: a name of the suite (``imagenet``, ``sun397``, ...).

    Raises:
        DataError: there is none for this data set.
    """
    path = _SHIPPED / f"{dataset}.json"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in _SHIPPED.glob("*.json")))
        raise DataError(f"{dataset}: no class names are shipped for this data set; there are some for {known}")
    return _read_vocabulary(path, dataset)


def vocabulary_of(data_root: Path, dataset: str) -> Vocabulary:
    """The vocabulary of a data set below a data root: the shipped one, or a generated data set's own.

    Raises:
        DataError: generated data without a vocabulary or with a broken one, or nothing is shipped.
    """
    if not is_sample(data_root):
        return shipped(dataset)
    path = data_root / dataset / FILE_NAME
    if not path.parent.is_dir():
        raise DataError(f"{path.parent}: the generated data have no {dataset}; name a --data-root with the real one")
    try:
        return _read_vocabulary(path, dataset)
    except (OSError, _FormError) as error:
        remedy = "write the generated data anew with `bench data sample`"
        raise DataError(f"{path}: {_reason(error)}; {remedy}") from error


def with_prompts(vocabulary: Vocabulary, file: Path) -> Vocabulary:
    """A vocabulary over which a user's own templates, names or both are laid.

    Args:
        vocabulary: of the data set; its keys and their order stay.
        file: JSON of the form above with ``templates``, ``classes`` or both; it names every class, in any order.

    Raises:
        OptionError: the file is missing or not JSON, does not follow the form, or names other classes.
    """
    try:
        content = _read_form(file)
        if content.keys() <= {"source"}:
            raise _FormError('holds neither "templates" nor "classes"')
        classes = _classes(content["classes"]) if "classes" in content else None
        return replace(
            vocabulary,
            names=vocabulary.names if classes is None else _in_order(vocabulary, classes),
            templates=_templates(content["templates"]) if "templates" in content else vocabulary.templates,
            source=content.get("source", str(file)),
        )
    except (OSError, _FormError) as error:
        raise OptionError(f"{file}: {_reason(error)}; give a corrected file to --prompts ({_HELP})") from error


def write_vocabulary(path: Path, vocabulary: Vocabulary) -> None:
    """Write a vocabulary in the form above."""
    classes = {
        key: names[0] if len(names) == 1 else list(names)
        for key, names in zip(vocabulary.keys, vocabulary.names, strict=True)
    }
    content = {"source": vocabulary.source, "templates": list(vocabulary.templates), "classes": classes}
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _read_vocabulary(path: Path, dataset: str) -> Vocabulary:
    """A complete file: all three fields."""
    content = _read_form(path)
    missing = [field for field in _FIELDS if field not in content]
    if missing:
        raise _FormError(f'lacks "{missing[0]}"')
    classes = _classes(content["classes"])
    return Vocabulary(
        dataset, tuple(classes), tuple(classes.values()), _templates(content["templates"]), content["source"]
    )


def _read_form(path: Path) -> dict[str, Any]:
    """The fields of a file; those of other names are refused, and so are two of the same."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_no_repeats)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _FormError(f"not a JSON file ({error})") from error
    if not isinstance(content, dict):
        raise _FormError(f"holds {_kind(content)}, not an object with {_listed(_FIELDS[1:])}")
    unknown = [field for field in content if field not in _FIELDS]
    if unknown:
        raise _FormError(f'unknown field "{unknown[0]}"; known are {_listed(_FIELDS)}')
    if not isinstance(content.get("source", ""), str):
        raise _FormError('"source" must be a text')
    return content


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of a JSON object, none of them twice (JSON's readers would keep the last in silence)."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise _FormError(f'"{next(name for name in names if names.count(name) > 1)}" occurs twice')
    return content


def _templates(value: Any) -> tuple[str, ...]:
    """Checked templates."""
    if not isinstance(value, list) or not value:
        raise _FormError('"templates" must be a list of at least one text')
    for template in value:
        if not isinstance(template, str) or template.count(PLACE) != 1:
            raise _FormError(f"the template {_quoted(template)} must be a text with exactly one {{}} for the name")
        _require_line(template, "template")
    return tuple(value)


def _classes(value: Any) -> dict[str, tuple[str, ...]]:
    """Checked names of each key, in the file's order."""
    if not isinstance(value, dict) or not value:
        raise _FormError('"classes" must be an object with a name for each class')
    return {key: _class_names(key, names) for key, names in value.items()}


def _class_names(key: str, value: Any) -> tuple[str, ...]:
    """The name or names of a class as a tuple."""
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise _FormError(f'class "{key}" must have a name that is not empty, or a list of such names')
    for name in names:
        _require_line(name, f'name of class "{key}"')
    return tuple(names)


def _require_line(text: str, what: str) -> None:
    """Refuse control characters: tabs and newlines part the entries of a digest."""
    if any(ord(character) < ord(" ") for character in text):
        raise _FormError(f"the {what} {_quoted(text)} holds a line break or another control character")


def _in_order(vocabulary: Vocabulary, classes: Mapping[str, tuple[str, ...]]) -> Names:
    """A user's names in the order of the labels."""
    here = f"of {vocabulary.dataset} (its {len(vocabulary.keys)} keys begin with {_listed(vocabulary.keys[:2])})"
    known = set(vocabulary.keys)
    for key in vocabulary.keys:
        if key not in classes:
            raise _FormError(f'"classes" lacks "{key}" {here}')
    for key in classes:
        if key not in known:
            raise _FormError(f'"{key}" is no class {here}')
    return tuple(classes[key] for key in vocabulary.keys)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _quoted(value: Any) -> str:
    """A value as the file may have it."""
    return json.dumps(value, ensure_ascii=False)


def _reason(error: OSError | _FormError) -> str:
    """What is wrong with a file, without its path."""
    return f"cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)


def _kind(value: Any) -> str:
    """What a JSON value is, for people."""
    kinds = {list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")


def _digest(entries: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(entries).encode()).hexdigest()[:16]
