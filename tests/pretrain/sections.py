"""Sections of a config for tests: those of DetailCLIP's default preset, with changes laid over."""

from typing import Any

from pretrain.data import CaptionFields
from pretrain.fields import preset_sections
from pretrain.token_removal import RemovalFields
from pretrain.views import ViewFields

PRESET = preset_sections("detailclip", "default")


def view_section(**changes: Any) -> dict[str, Any]:
    return {**PRESET["views"], **changes}


def view_fields(**changes: Any) -> ViewFields:
    return ViewFields.model_validate(view_section(**changes))


def caption_section(**changes: Any) -> dict[str, Any]:
    return {**PRESET["captions"], **changes}


def caption_fields(**changes: Any) -> CaptionFields:
    return CaptionFields.model_validate(caption_section(**changes))


def removal_fields(**changes: Any) -> RemovalFields:
    return RemovalFields.model_validate({**PRESET["fields"]["removal"], **changes})
