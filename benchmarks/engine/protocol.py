"""Protocols: named fields, read from mm_configs, overridden by ``-o``, validated, fingerprinted."""

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.errors import OptionError
from benchmarks.files import shipped

Schema = TypeVar("Schema", bound=BaseModel)

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class Fields(BaseModel):
    """A closed set of named fields: no defaults, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def read_config(name: str) -> dict[str, Any]:
    """The fields of ``mm_configs/<name>.py``, its bases merged in (MMEngine's rules)."""
    return read_config_file(shipped("mm_configs") / f"{name}.py")


def read_config_file(path: Path) -> dict[str, Any]:
    """The fields of a config file, ``.py`` or ``.json``, its bases merged in (MMEngine's rules).

    A ``.py`` config is a program and is run.

    Raises:
        OptionError: there is no such file, it is not in the language its suffix names, holds no named fields, names a
            base that is not there, or its code raises.
    """
    from mmengine.config import Config

    if path.suffix not in (".py", ".json") or not path.is_file():
        raise OptionError(f"{path}: no such config file; name a .py or .json file")
    try:
        fields: dict[str, Any] = Config.fromfile(path).to_dict()
    except Exception as error:  # the file is the user's program: it may raise whatever it likes
        reason = shorten(f"{type(error).__name__}: {error}", 300)
        raise OptionError(f"{path}: {reason}; mend the file, which must give fields by name") from error
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
    return validated(name, schema, merge(fields, parse_overrides(overrides)))


def validated(name: str, schema: type[Schema], fields: Mapping[str, Any]) -> Schema:
    """``fields`` as a ``schema``.

    Args:
        name: of the config, for the message.
        schema: the fields that must be there; an unknown or missing one is an error.
        fields: nested values by name.

    Raises:
        OptionError: a field is unknown, missing, of the wrong type or out of range; the line has its full path.
    """
    try:
        return schema.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        known = ", ".join(sorted(_section(schema, first["loc"]).model_fields))
        reason = "there is no such field" if first["type"] == "extra_forbidden" else first["msg"]
        raise OptionError(f"{name}: field {field}: {reason} (fields: {known})") from error


def _section(schema: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    """The schema of the innermost section on the way to ``location``."""
    for part in location[:-1]:
        field = schema.model_fields.get(str(part))
        kind = field.annotation if field else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            break
        schema = kind
    return schema
