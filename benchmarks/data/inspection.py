"""What a data set really holds: counts, classes, duplicates, captions, and the sha256 of every file."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.data.presence import PICTURE_SUFFIXES
from benchmarks.data.verify import Progress
from benchmarks.errors import DataError, OptionError
from benchmarks.files import sha256_of, write_text

if TYPE_CHECKING:
    from benchmarks.data.classification.split import ClassificationDataSet, Listing
    from benchmarks.data.retrieval import RetrievalDataSet
    from benchmarks.data.vocabulary import Vocabulary

CONTEXT = 77
"""Tokens that the text towers of CLIP and its successors read, the two marks at the ends included."""

_SHOWN = 3  # examples in a line
_PACKED = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class Classes:
    """The classes of a split.

    Attributes:
        keys: C class keys, in label order.
        names: C names as they stand in prompts.
        counts: number of pictures of each class.
    """

    keys: tuple[str, ...]
    names: tuple[str, ...]
    counts: tuple[int, ...]

    def lines(self) -> list[str]:
        """The order, the range of labels that occur, and how unevenly the pictures are spread."""
        from statistics import median  # loads fractions and decimals

        count = len(self.keys)
        ends = [*range(min(_SHOWN, count)), *range(max(_SHOWN, count - 1), count)]
        order = [f"{label} {self.keys[label]} ({self.names[label]})" for label in ends]
        if count > len(ends):
            order.insert(-1, "…")
        used = [label for label, number in enumerate(self.counts) if number]
        empty = f"; {count - len(used)} classes have no picture" if len(used) < count else ""
        return [
            f"class order ({count}): {', '.join(order)}",
            f"labels: {used[0]} to {used[-1]}{empty}" if used else "labels: none",
            f"pictures a class: at least {min(self.counts)}, median {median(self.counts):g}, "
            f"at most {max(self.counts)}",
        ]

    def every(self) -> list[str]:
        """A line for each class: label, key, name, number of pictures."""
        rows = zip(self.keys, self.names, self.counts, strict=True)
        return [f"{label:4d}  {key}  ({name})  {number}" for label, (key, name, number) in enumerate(rows)]


@dataclass(frozen=True)
class Inspection:
    """What was found of one split.

    Attributes:
        dataset: name of the data set.
        split: name of the split.
        found: pictures that are there.
        official: pictures that are published; of generated data those that were generated.
        is_sample: whether the data are generated.
        fingerprint: of the pictures; None if they were only listed, not decoded.
        unit: what is counted.
        names: a unique name for each picture; empty if there is none to tell.
        digests: the sha256 of each picture; empty if they were only listed.
        labels: the class key of each picture; empty where there are no classes.
        classes: the classes, if there are any.
        facts: further lines.
        paths: the files behind it beneath the data set's folder, with their sha256 where it is known.
    """

    dataset: str
    split: str
    found: int
    official: int
    is_sample: bool
    fingerprint: str | None
    unit: str = "pictures"
    names: Sequence[str] = ()
    digests: Sequence[str] = ()
    labels: Sequence[str] = ()
    classes: Classes | None = None
    facts: tuple[str, ...] = ()
    paths: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Pictures that are published and not there; negative if there are too many."""
        return self.official - self.found

    def lines(self) -> list[str]:
        """What a person wants to read."""
        how = f"all readable, fingerprint {self.fingerprint[:16]}" if self.fingerprint else "listed, none opened"
        sample = " (generated sample)" if self.is_sample else ""
        lines = [f"{self.dataset} {self.split}: {self.found} of {self.official} {self.unit}, {how}{sample}"]
        if self.missing > 0:
            lines.append(f"missing: {self.missing} {self.unit}; runs on this split are partial")
        if self.missing < 0:
            lines.append(f"too many: {-self.missing} {self.unit} more than are published; runs refuse that")
        lines += self.classes.lines() if self.classes else []
        lines += self.facts
        if self.digests:
            lines.append(duplicates_line(self.names, self.digests, self.labels))
        return lines


def duplicates_line(names: Sequence[str], digests: Sequence[str], labels: Sequence[str] = ()) -> str:
    """How many contents occur more than once, and those of them whose labels differ, by name.

    Args:
        names: of the pictures.
        digests: the sha256 of each.
        labels: the class of each, or nothing.
    """
    places: dict[str, list[int]] = {}
    for index, digest in enumerate(digests):
        places.setdefault(digest, []).append(index)
    groups = [group for group in places.values() if len(group) > 1]
    if not groups:
        return "duplicates: none"
    line = f"duplicates: {len(groups)} contents under {sum(map(len, groups))} names"
    torn = [group for group in groups if labels and len({labels[index] for index in group}) > 1]
    if torn:
        examples = [" = ".join(f"{names[index]} ({labels[index]})" for index in group) for group in torn[:_SHOWN]]
        line += f"; {len(torn)} of them with differing labels: {', '.join(examples)}{', …' * (len(torn) > _SHOWN)}"
    return line


def inspect_classification(
    declared: "ClassificationDataSet", data_root: Path, split: str, decode: bool, progress: Progress | None = None
) -> Inspection:
    """Look into a split of a classification set.

    Args:
        declared: the data set.
        data_root: the folder that holds ``<name>/``.
        split: a name that the declaration knows.
        decode: decode and hash every picture; otherwise they are only listed.
        progress: called with (pictures done, pictures in all).

    Raises:
        OptionError: there is no such split.
        DataError: the set is missing or damaged (see ``load_split``).
    """
    from benchmarks.data.classification.load import list_split, load_split
    from benchmarks.data.root import is_sample
    from benchmarks.data.vocabulary import vocabulary_of

    require_split(declared.name, declared.splits, split)
    vocabulary = vocabulary_of(data_root, declared.name)
    listing = list_split(data_root, declared, vocabulary, split)
    found, sample = len(listing.paths), is_sample(data_root)
    loaded = load_split(data_root, declared.name, vocabulary, split, progress=progress) if decode else None
    digests = tuple(loaded.images.digests) if loaded else ()
    return Inspection(
        dataset=declared.name,
        split=split,
        found=found,
        official=found if sample else declared.splits[split] or found + listing.missing,
        is_sample=sample,
        fingerprint=loaded.images.fingerprint if loaded else None,
        names=listing.paths,
        digests=digests,
        labels=listing.keys,
        classes=_classes(declared, listing, vocabulary),
        paths=_paths(listing.paths, digests) if listing.pixels is None else {},
    )


def require_split(dataset: str, splits: Iterable[str], split: str) -> None:
    """Raise ``OptionError`` unless the data set has this split."""
    if split not in (known := list(splits)):
        raise OptionError(f"{dataset}: no split {split!r}; it has {', '.join(known)}")


def _classes(declared: "ClassificationDataSet", listing: "Listing", vocabulary: "Vocabulary") -> Classes:
    """The classes of the vocabulary and how many pictures each has."""
    counts = Counter(listing.keys)
    unknown = sorted(counts.keys() - set(vocabulary.keys))
    if unknown:
        raise DataError(
            f"{declared.name}: holds pictures of the class {unknown[0]!r}, which is none of its "
            f"{len(vocabulary.keys)} classes; put the original files in their place"
        )
    names = tuple(" / ".join(names) for names in vocabulary.names)
    return Classes(vocabulary.keys, names, tuple(counts[key] for key in vocabulary.keys))


def _paths(paths: Sequence[str], digests: Sequence[str]) -> dict[str, str | None]:
    """Files with what is known of them."""
    return dict(zip(paths, digests, strict=True)) if digests else dict.fromkeys(paths)


def inspect_retrieval(
    declared: "RetrievalDataSet", data_root: Path, split: str, decode: bool, progress: Progress | None = None
) -> Inspection:
    """Look into the test split of a retrieval set; arguments and errors as of ``inspect_classification``."""
    from benchmarks.data.images import FileImages
    from benchmarks.data.karpathy import read_karpathy, require_captions
    from benchmarks.data.retrieval import SPLIT, annotation_file, load_split
    from benchmarks.data.root import is_sample, require_root

    require_split(declared.name, (SPLIT,), split)
    require_root(data_root)
    folder = data_root / declared.name
    if decode:
        loaded = load_split(data_root, declared.name, progress)
        images, captions = loaded.images, loaded.captions
        paths = images.paths if isinstance(images, FileImages) else ()
        return Inspection(
            dataset=declared.name,
            split=split,
            found=len(images),
            official=loaded.official,
            is_sample=loaded.is_sample,
            fingerprint=images.fingerprint,
            names=images.sample_ids,
            digests=images.digests,
            facts=caption_lines(captions, declared.captions if loaded.complete and not loaded.is_sample else None),
            paths=_paths(paths, images.digests),
        )
    file = annotation_file(folder, declared)
    described = read_karpathy(file, (split,))
    require_captions(file, described)
    places = {
        image: [place for place in declared.places(image.path) if (folder / place).is_file()] for image in described
    }
    there = {image: found[0] for image, found in places.items() if found}
    sample = is_sample(data_root)
    return Inspection(
        dataset=declared.name,
        split=split,
        found=len(there),
        official=len(described) if sample else declared.official,
        is_sample=sample,
        fingerprint=None,
        names=[image.path for image in there],
        facts=caption_lines([image.captions for image in there], None),
        paths=_paths(list(there.values()), ()),
    )


def caption_lines(captions: Sequence[Sequence[str]], official: int | None) -> tuple[str, ...]:
    """How many captions there are, how many a picture has, and how many are longer than a text tower reads.

    Args:
        captions: those of each picture.
        official: published number of all of them; None where it does not apply.
    """
    from open_clip.tokenizer import SimpleTokenizer

    numbers = [len(texts) for texts in captions] or [0]
    tokenizer = SimpleTokenizer()
    lengths = [len(tokenizer.encode(text)) + 2 for texts in captions for text in texts] or [0]
    published = f" ({official} are published)" if official not in (None, sum(numbers)) else ""
    each = f"{min(numbers)}" if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"
    longer = sum(length > CONTEXT for length in lengths)
    return (
        f"captions: {sum(numbers)}{published}, {each} a picture",
        f"captions of more than {CONTEXT} tokens, which are cut: {longer} (the longest has {max(lengths)})",
    )


def inspect_ade20k(data_root: Path, split: str, decode: bool, progress: Progress | None = None) -> Inspection:
    """Look into a split of ADE20K; arguments and errors as of ``inspect_classification``."""
    from benchmarks.data import ade20k
    from benchmarks.data.root import is_sample, require_root

    require_split("ade20k", ade20k.OFFICIAL, split)
    require_root(data_root)
    name: ade20k.SplitName = "training" if split == "training" else "validation"
    official = ade20k.OFFICIAL[name]
    if not decode:
        counts = ade20k.summary(data_root).counts
        return Inspection("ade20k", name, counts[name], official, is_sample(data_root), None, "pairs")
    loaded = ade20k.load_split(data_root, name, progress)
    folder = data_root / "ade20k"
    files = [path.relative_to(folder).as_posix() for pair in loaded.pairs for path in (pair.image, pair.annotation)]
    digests = hash_files(folder, files)
    return Inspection(
        dataset="ade20k",
        split=name,
        found=len(loaded.pairs),
        official=official,
        is_sample=loaded.is_sample,
        fingerprint=loaded.fingerprint,
        unit="pairs",
        names=files[::2],
        digests=digests[::2],
        facts=(f"mask values: 0 (unlabelled) to {ade20k.CLASS_COUNT}, none beyond",),
        paths=_paths(files, digests),
    )


def inspect_coco(data_root: Path, split: str, decode: bool, progress: Progress | None = None) -> Inspection:
    """Look into a split of COCO's instances; arguments and errors as of ``inspect_classification``."""
    from benchmarks.data import coco
    from benchmarks.data.presence import count_pictures
    from benchmarks.data.root import is_sample, require_root

    require_split("coco-instances", coco.OFFICIAL, split)
    require_root(data_root)
    name: coco.SplitName = "train2017" if split == "train2017" else "val2017"
    official = coco.OFFICIAL[name]
    if not decode:
        found = count_pictures(data_root / coco.FOLDER / name)
        return Inspection("coco-instances", name, found, official, is_sample(data_root), None)
    loaded = coco.load_split(data_root, name, progress)
    files = [f"{name}/{picture.file_name}" for picture in loaded.pictures]
    bare = sum(not picture.annotations for picture in loaded.pictures)
    objects = sum(picture.objects for picture in loaded.pictures)
    crowds = sum(picture.annotations for picture in loaded.pictures) - objects
    return Inspection(
        dataset="coco-instances",
        split=name,
        found=len(loaded.pictures),
        official=official,
        is_sample=loaded.is_sample,
        fingerprint=loaded.fingerprint,
        names=files,
        digests=loaded.digests,
        facts=(f"annotations: {objects} objects and {crowds} crowds; on {bare} pictures nothing is annotated",),
        paths=_paths(files, loaded.digests),
    )


def hash_files(folder: Path, paths: Sequence[str], progress: Progress | None = None) -> list[str]:
    """The sha256 of files beneath a folder, in their order; ``progress`` is told (files done, files in all).

    Raises:
        DataError: one of them cannot be read.
    """
    digests = []
    with ThreadPoolExecutor() as pool:
        for path, digest in zip(paths, pool.map(lambda path: _hashed(folder / path), paths), strict=True):
            if isinstance(digest, OSError):
                pool.shutdown(cancel_futures=True)
                raise DataError(f"{folder / path}: cannot be read ({digest.strerror}); put the original in its place")
            digests.append(digest)
            if progress:
                progress(len(digests), len(paths))
    return digests


def _hashed(path: Path) -> str | OSError:
    try:
        return sha256_of(path)
    except OSError as error:
        return error


def write_manifest(
    file: Path, folder: Path, inspections: Sequence[Inspection], progress: Progress | None = None
) -> int:
    """Write ``sha256  path`` for every file that the inspected splits rest on, as ``sha256sum -c`` reads it.

    These are the pictures of the splits, and whatever else lies in the folder (lists, labels, arrays) but further
    pictures, archives and hidden files. What was hashed while pictures were verified is not read again.

    Args:
        file: the manifest to write.
        folder: the data set's folder, to which the paths are relative.
        inspections: what was found.
        progress: called with (files done, files in all) for those that are read.

    Returns:
        The number of files in it.

    Raises:
        DataError: a file cannot be read.
    """
    known: dict[str, str | None] = {}
    for inspection in inspections:
        known.update(inspection.paths)
    known |= dict.fromkeys(_other_files(folder, known))
    todo = [path for path, digest in known.items() if digest is None]
    known |= zip(todo, hash_files(folder, todo, progress), strict=True)
    write_text(file, "".join(f"{_manifest_line(path, digest or '')}\n" for path, digest in sorted(known.items())))
    return len(known)


def _other_files(folder: Path, pictures: Mapping[str, str | None]) -> list[str]:
    """The files beneath a folder that are neither pictures, archives nor hidden."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        beneath = Path(place).relative_to(folder)
        found += [(beneath / name).as_posix() for name in names if not name.startswith(".")]
    left_out = (*PICTURE_SUFFIXES, *_PACKED)
    return [path for path in found if path not in pictures and not path.lower().endswith(left_out)]


def _manifest_line(path: str, digest: str) -> str:
    """A line of a manifest; names with a line break or a backslash are written as ``sha256sum`` escapes them."""
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "" if escaped == path else "\\"
    return f"{mark}{digest}  {escaped}"
