"""Protocols: named fields, read from mm_configs, overridden by ``-o``, validated, fingerprinted."""

import ast
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from benchmarks.errors import OptionError
from benchmarks.files import shipped

Schema = TypeVar("Schema", bound=BaseModel)


def read_config(name: str) -> dict[str, Any]:
    """The fields of ``mm_configs/<name>.py``, its bases merged in (MMEngine's rules)."""
    from mmengine.config import Config

    fields: dict[str, Any] = Config.fromfile(shipped("mm_configs") / f"{name}.py").to_dict()
    return fields


def parse_overrides(options: Iterable[str]) -> dict[str, Any]:
    """``["lr=1e-4", "backbone.norm_on_taps=False"]`` as nested fields; values are Python literals, else text.

    Raises:
        OptionError: an option without ``=`` or without a name.
    """
    nested: dict[str, Any] = {}
    for option in options:
        path, equals, text = option.partition("=")
        if not equals or not all(path.split(".")):
            raise OptionError(
                f"-o {option}: write it as field=value, e.g. -o lr=1e-4 or -o backbone.norm_on_taps=False"
            )
        target = nested
        *sections, field = path.split(".")
        for section in sections:
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                raise OptionError(f"-o {option}: {section} was given a value of its own already")
        target[field] = _literal(text)
    return nested


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        return text


def merge(fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``fields`` with ``changes`` laid over, section by section."""
    merged = dict(fields)
    for name, value in changes.items():
        inner = merged.get(name)
        merged[name] = merge(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged


def load_protocol(name: str, schema: type[Schema], quick: bool = False, overrides: Iterable[str] = ()) -> Schema:
    """The protocol ``mm_configs/<name>.py`` as a validated ``schema``.

    Args:
        name: path of the config without suffix, e.g. ``segmentation/ade20k_upernet``.
        schema: the fields that must be there; an unknown or missing one is an error.
        quick: lay the config's ``quick`` section over it.
        overrides: ``field=value`` texts, laid over last.

    Raises:
        OptionError: an override names an unknown field or has a value of the wrong type or out of range.
    """
    fields = read_config(name)
    small = fields.pop("quick")
    fields = merge(fields, small) if quick else fields
    try:
        return schema.model_validate(merge(fields, parse_overrides(overrides)))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        known = ", ".join(sorted(schema.model_fields))
        raise OptionError(f"{name}: field {field}: {first['msg']} (fields: {known})") from error
