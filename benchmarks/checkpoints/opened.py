"""A checkpoint that has been read and identified, and the questions that its family or its metadata
answer.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.checkpoints.architecture import Heads, Preprocessing, TextArchitecture, VitArchitecture
from benchmarks.checkpoints.convert import (
    Converted,
    States,
    convert,
    identify,
    options_of,
    text_architecture,
    unwrap,
    vision_architecture,
)
from benchmarks.checkpoints.families import TIMM_VIT, family_named, family_title
from benchmarks.checkpoints.family import Family, Tower
from benchmarks.checkpoints.metadata import Embedded, Source, read_embedded
from benchmarks.checkpoints.open_clip_config import OPEN_CLIP_CONFIG, OpenClipConfig, read_open_clip_config
from benchmarks.checkpoints.published import Known, recognise
from benchmarks.checkpoints.read import CheckpointFile, read_checkpoint
from benchmarks.errors import CheckpointError

# CLIP's tokenizer is the only one here: a text tower with more tokens than it has was trained with another.
_TOKENS = 49408


@dataclass(frozen=True)
class CheckpointInfo:
    """What is known of a checkpoint beside its weights.

    Attributes:
        name: for records and tables: from embedded metadata, else the registry's, else the file's name without suffix.
        path: the file that was read.
        sha256: of that file, 64 hexadecimal digits.
        family: name of the family that the weights come from.
        layout: name of the family whose keys the file bears; differs from ``family`` for our own files, and for plain
            ViT state dicts that the registry knows.
        title: of the family, for people.
        tower: the tower taken, ``online`` or ``ema``.
        towers: the towers that the file holds.
        architecture: of the image tower.
        text: of the text tower; None where there is none, or where the image tower alone was asked for.
        heads: attention heads of both towers.
        has_text: whether the file holds a text side.
        preprocessing: of the pictures.
        training: how the weights were made, from embedded metadata.
        row: row of the paper's tables, from embedded metadata or the registry, ``METHOD[@EPOCHS]``.
        source: the file that an exported file was made from.
        notes: what was assumed because the file cannot tell it.
    """

    name: str
    path: Path
    sha256: str
    family: str
    layout: str
    title: str
    tower: str
    towers: tuple[str, ...]
    architecture: VitArchitecture
    text: TextArchitecture | None
    heads: Heads
    has_text: bool
    preprocessing: Preprocessing
    training: Mapping[str, Any] | None
    row: str | None
    source: Source | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-able values."""
        return asdict(self) | {"path": str(self.path)}


@dataclass(frozen=True)
class Opened:
    """A file that was read and identified.

    Attributes:
        file: what was read.
        states: its state dicts.
        family: whose keys it bears.
        tower: the tower asked for.
        embedded: the metadata of our own files.
        known: what the registry says of the file, if it is a published one.
        config: what lies beside the weights of a family that has such a file.
        quick_gelu: the activation that the user told.
    """

    file: CheckpointFile
    states: States
    family: Family
    tower: Tower
    embedded: Embedded | None
    known: Known | None = None
    config: OpenClipConfig | None = None
    quick_gelu: bool | None = None

    @property
    def origin(self) -> Family:
        """The family that the weights come from, as far as the file or the registry tells: its settings count."""
        named = family_named(self.known.entry.family) if self.known else None
        return named or self.family

    @property
    def title(self) -> str:
        """The title of the family that the weights come from."""
        return family_title(self.embedded.family) if self.embedded else self.origin.title

    @property
    def label(self) -> str:
        """The file and its family, for messages."""
        return f"{self.file.path} ({self.title}, {self.tower.name} tower)"

    def convert(self, image_only: bool = False) -> Converted:
        """The weights of the tower under the dual encoder's names."""
        return convert(self.states, self.family, self.tower, image_only)

    def vision(self, converted: Converted, told: int | None) -> VitArchitecture:
        """The image tower; ``heads`` is 0 where they must be told.

        Raises:
            CheckpointError: ``told`` does not fit, or the metadata or the config contradict the weights.
        """
        found = vision_architecture(converted, self.origin, 1, self.label)
        stated = self.embedded.architecture if self.embedded else None
        if stated:
            settings = {name: getattr(stated, name) for name in ("heads", "norm_eps", "quick_gelu", "pre_norm")}
            self._confirm(stated == replace(found, **settings), "image")
        published = {found.width: self.config.image_heads(found)} if self.config else self.origin.image_heads
        heads = self._heads("image", found.width, told, stated.heads if stated else None, published)
        settled = stated or found
        return replace(settled, heads=heads, quick_gelu=self._activation("image", settled.quick_gelu))

    def text(self, converted: Converted, told: int | None) -> TextArchitecture | None:
        """The text tower, or None where there is none; ``heads`` is 0 where they must be told.

        Raises:
            CheckpointError: ``told`` does not fit, the metadata or the config contradict the weights, or the tower was
                trained with another tokenizer than CLIP's.
        """
        if not self.family.has_text:
            return None
        found = text_architecture(converted, self.family, 1, self.label)
        stated = self.embedded.text if self.embedded else None
        if stated:
            self._confirm(stated == replace(found, heads=stated.heads, quick_gelu=stated.quick_gelu), "text")
        if found.vocabulary > _TOKENS:
            raise CheckpointError(
                f"{self.label}: the text tower has {found.vocabulary} tokens and CLIP's tokenizer {_TOKENS}: it needs "
                "a tokenizer of its own, which is not supported"
            )
        published = {found.width: self.config.text_heads(found)} if self.config else self.family.text_heads
        heads = self._heads("text", found.width, told, stated.heads if stated else None, published)
        settled = stated or found
        return replace(settled, heads=heads, quick_gelu=self._activation("text", settled.quick_gelu))

    def _activation(self, side: str, declared: bool) -> bool:
        """Whether this side has QuickGELU: as declared where that is certain, else told, else in the config."""
        if self.family.assumed_activation and not self.embedded:
            if self.quick_gelu is not None:
                return self.quick_gelu
            return self.config.quick_gelu if self.config else declared
        if self.quick_gelu not in (None, declared):
            option = "--quick-gelu" if self.quick_gelu else "--gelu"
            raise CheckpointError(
                f"{self.label}: {option}, but the {side} tower has {'QuickGELU' if declared else 'GELU'}: "
                "leave the option out"
            )
        return declared

    def _confirm(self, agrees: bool, side: str) -> None:
        """Refuse metadata that describe another tower than the one in the file."""
        if not agrees:
            raise CheckpointError(f"{self.label}: the metadata describe another {side} tower than the weights")

    def _heads(self, side: str, width: int, told: int | None, stated: int | None, published: Mapping[int, int]) -> int:
        """The heads: stated in the file, else told, else published for this width, else 0."""
        if told is not None and stated is not None and told != stated:
            raise CheckpointError(
                f"{self.label}: --{side}-heads {told}, but the file states {stated}: leave the option out"
            )
        heads = told if stated is None else stated
        if heads is None:
            return published.get(width, 0)
        if heads < 1 or width % heads:
            raise CheckpointError(
                f"{self.label}: --{side}-heads {heads} does not divide the {side} tower's width {width}; "
                "say another number"
            )
        return heads

    def require_heads(self, side: str, architecture: VitArchitecture | TextArchitecture) -> None:
        """Raise where the heads of this side must be told."""
        if not architecture.heads:
            raise CheckpointError(
                f"{self.label}: the {side} tower's width {architecture.width} is not a published size, and "
                f"heads cannot be read from weights: say --{side}-heads N ({side}_heads=N)"
            )

    def info(self, vision: VitArchitecture, text: TextArchitecture | None) -> CheckpointInfo:
        """All that is known, with the architectures as settled."""
        embedded, family = self.embedded, self.family
        entry = self.known.entry if self.known else None
        return CheckpointInfo(
            name=embedded.name if embedded else entry.name if entry else self.file.path.stem,
            path=self.file.path,
            sha256=self.file.sha256,
            family=embedded.family if embedded else self.origin.name,
            layout=family.name,
            title=self.title,
            tower=self.tower.name,
            towers=_tower_names(family, embedded, self.states),
            architecture=vision,
            text=text,
            heads=Heads(vision.heads or None, (text.heads or None) if text else None),
            has_text=family.has_text,
            preprocessing=self._preprocessing(vision.image_size),
            training=embedded.training if embedded else None,
            row=embedded.row if embedded else entry.row if entry else None,
            source=embedded.source if embedded else None,
            notes=() if embedded else (*self.origin.notes, *self._activation_notes(), *self._registry_notes()),
        )

    def _preprocessing(self, image_size: int) -> Preprocessing:
        """Of pictures for a tower made for this size: stated in the file, else beside it, else the family's."""
        if self.embedded:
            return self.embedded.preprocessing
        usual = self.origin.preprocessing.at(image_size)
        return self.config.preprocessing(usual) if self.config else usual

    def _activation_notes(self) -> tuple[str, ...]:
        """Where the activation comes from, for a family that leaves it open."""
        if not self.family.assumed_activation:
            return ()
        if self.config is None:
            return (self.family.assumed_activation,) if self.quick_gelu is None else ()
        notes = [f"activation, heads and preprocessing are those of {OPEN_CLIP_CONFIG} beside the file"]
        if self.quick_gelu not in (None, self.config.quick_gelu):
            says = "QuickGELU" if self.config.quick_gelu else "GELU"
            notes.append(f"{OPEN_CLIP_CONFIG} says {says}, but the other activation was told")
        return tuple(notes)

    def _registry_notes(self) -> tuple[str, ...]:
        """What the registry says beside the settings."""
        return tuple(filter(None, (self.known.evidence, self.known.entry.note))) if self.known else ()


def open_checkpoint(path: str | Path, tower: str | None, quick_gelu: bool | None = None) -> Opened:
    """Read and identify a file, and pick the tower: ``tower``, or the family's default.

    ``quick_gelu`` is the activation as the user told it.

    Raises:
        CheckpointError: it cannot be read safely, its layout is unknown or not that of the published file that it is
            kept as, or it lacks the tower.
    """
    file = read_checkpoint(Path(path))
    known = recognise(file.path, file.sha256)
    states = unwrap(file.content, str(file.path))
    family = identify(states, str(file.path), options=options_of(file.content))
    if known:
        _require_layout(known, family, file.path)
    embedded = read_embedded(file.metadata, str(file.path))
    if family.needs_metadata and embedded is None:
        raise CheckpointError(
            f"{file.path}: has the dual encoder's keys but not this project's metadata, without which heads "
            "and activation are unknown; export the checkpoint that it was made from again"
        )
    names = _tower_names(family, embedded, states)
    chosen = tower or names[0]
    if chosen not in names:
        raise CheckpointError(
            f"{file.path} ({family.title}): has no {chosen} tower; towers in this file: {', '.join(names)}"
        )
    # Our own files hold one tower under the layout's own name, whichever it was in the file they came from.
    declared = {each.name: each for each in family.towers}
    picked = replace(declared.get(chosen, family.towers[0]), name=chosen)
    config = read_open_clip_config(file.path.parent) if family.reads_config and not embedded else None
    return Opened(file, states, family, picked, embedded, known, config, quick_gelu)


def _require_layout(known: Known, layout: Family, path: Path) -> None:
    """Refuse a file that has another layout than what it is kept as: a page or a file of another name was saved."""
    published = family_named(known.entry.family)
    if published and layout is not published and not (published.bare and layout is TIMM_VIT):
        raise CheckpointError(
            f"{path}: is kept as {known.entry.name}, but has the layout of {layout.title}, not of {published.title}; "
            "remove it, and get the right file"
        )


def _tower_names(family: Family, embedded: Embedded | None, states: States) -> tuple[str, ...]:
    """The towers that the file holds, the default first."""
    if embedded:
        return embedded.towers
    return tuple(tower.name for tower in family.towers if tower.container in states)
