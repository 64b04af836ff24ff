"""Pictures of predictions: image, truth and every checkpoint side by side (the paper's Figures 3 to 7)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report.blocks import Gallery, Links, Page, Picture, Section
from benchmarks.report.kinds import Kind, Sampled
from benchmarks.report.names import shown, slug
from benchmarks.report.pages.common import title_of
from benchmarks.report.pictures import FOLDER, Size, written
from benchmarks.report.results import Run, benchmark_page, representatives
from benchmarks.report.thumbnails import Thumbnails

NAME = "pictures"
_IMAGE, _TRUTH, _PREDICTION = range(3)


@dataclass(frozen=True)
class Shown:
    """The pictures of one benchmark on one set of data.

    Attributes:
        benchmark: its id.
        runs: those with pictures, one for each checkpoint.
        files: sample id to run id to the run's picture; samples that all runs have come first.
    """

    benchmark: str
    runs: Sequence[Run]
    files: Mapping[str, Mapping[str, Path]]

    @property
    def page(self) -> str:
        """Name of the page."""
        return f"pictures-{slug(self.benchmark)}"

    def target(self, site: Path, sample: str, panel: str) -> Path:
        """Where a panel is written, without suffix."""
        data = self.runs[0].record.data.fingerprint
        return site / FOLDER / slug(self.benchmark, data, panel, sample)

    def jobs(self, site: Path) -> dict[Path, dict[int, Path]]:
        """What to take from which picture: image and truth from the first run's."""
        found: dict[Path, dict[int, Path]] = {}
        for sample, files in self.files.items():
            for number, (run_id, path) in enumerate(files.items()):
                wanted = {_PREDICTION: self.target(site, sample, run_id)}
                if number == 0:
                    wanted |= {_IMAGE: self.target(site, sample, "image"), _TRUTH: self.target(site, sample, "truth")}
                found[path] = wanted
        return found

    def address(self, sample: str) -> str:
        """Where a sample's pictures stand."""
        return f"{self.page}.html#{self.target(Path(), sample, 'image').name}"


def collect(benchmark: str, runs: Sequence[Run]) -> list[Shown]:
    """The pictures of a benchmark's runs; runs on different data have nothing in common."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.record.data.fingerprint].append(run)
    found = []
    for group in groups.values():
        having = [(run, files) for run in group if (files := sorted((run.folder / "pictures").glob("*.png")))]
        chosen = {run.record.run_id for run in representatives([run for run, _ in having])}
        samples: dict[str, dict[str, Path]] = defaultdict(dict)
        for run, files in having:
            if run.record.run_id in chosen:
                for path in files:
                    samples[path.stem][run.record.run_id] = path
        if samples:
            order = sorted(samples, key=lambda sample: (-len(samples[sample]), sample))
            kept = [run for run, _ in having if run.record.run_id in chosen]
            found.append(Shown(benchmark, kept, {sample: samples[sample] for sample in order}))
    return found


def page(
    groups: Sequence[Shown], sampled: Mapping[str, Sampled], kind: Kind | None, site: Path, sizes: Mapping[Path, Size]
) -> Page:
    """The page of a benchmark's pictures.

    Args:
        groups: of the benchmark, at least one.
        sampled: samples by run id, for the score below each prediction.
        kind: their form.
        site: where the panels were written.
        sizes: of the panels.
    """
    benchmark = groups[0].benchmark
    scores = {run_id: _scores(each, kind) for run_id, each in sampled.items()} if kind else {}
    sections = []
    for group in groups:
        data = group.runs[0].record.data
        title = f"{shown(data.name)}, {shown(data.split)}"
        if len(groups) > 1:
            title += f", {shown(data.fingerprint, 16)}"
        rows = [
            (group.target(site, sample, "image").name, shown(sample, 60), _row(group, sample, scores, site, sizes))
            for sample in group.files
        ]
        gallery = Gallery("Image, truth and predictions", rows)
        lead = f"{len(rows)} pictures; the same for all checkpoints as far as each has them."
        sections.append(Section(title, [gallery], lead))
    return Page(groups[0].page, f"Pictures, {title_of(benchmark)}", sections, "", NAME, ("Pictures", f"{NAME}.html"))


def _scores(each: Sampled, kind: Kind) -> dict[str, str]:
    """What is written below each prediction."""
    values = zip(each.samples["sample_id"], kind.score(each.samples), strict=True)
    return {str(sample): f"{kind.score_name} {score:.1f}" for sample, score in values if score == score}


def _row(
    group: Shown, sample: str, scores: Mapping[str, Mapping[str, str]], site: Path, sizes: Mapping[Path, Size]
) -> list[Picture]:
    name = shown(sample, 60)
    places = [("image", "image", f"{name}: the image", ""), ("truth", "truth", f"{name}: the truth", "")]
    for run in group.runs:
        run_id = run.record.run_id
        if run_id in group.files[sample]:
            score = scores.get(run_id, {}).get(sample, "")
            alt = f"{name}: prediction of {run.label}" + (f", {score}" if score else "")
            places.append((run_id, run.name, alt, score))
    pictures = []
    for panel, title, alt, note in places:
        target = group.target(site, sample, panel)
        pictures.append(Picture(f"{FOLDER}/{written(target).name}", sizes[target], alt, title, note))
    return pictures


def index(groups: Sequence[Shown], small: Sequence[Thumbnails], masks: int, training: str) -> Page:
    """The page that leads to all pictures; those of queries and answers are on the benchmarks' own pages."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for group in groups:
        counts[group.benchmark, f"{group.page}.html"] += len(group.files)
    for each in small:
        if each.count:
            counts[each.benchmark, f"{benchmark_page(each.benchmark)}.html"] += each.count
    links = [(title_of(benchmark), href, f"{count} images") for (benchmark, href), count in counts.items()]
    if masks:
        links.append(("What the student sees in pretraining", f"{training}.html", f"{masks} views"))
    lead = "Predictions beside images and truth; queries and what was found for them."
    return Page(NAME, "Pictures", [Section("By benchmark", [Links(links)])], lead, NAME)
