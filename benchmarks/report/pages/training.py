"""Pretraining: loss curves, and what the student saw (the paper's Figure 1)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.report.blocks import Facts, Figure, Gallery, Page, Panel, Picture, Section
from benchmarks.report.charts import lines
from benchmarks.report.names import shown, slug
from benchmarks.report.pages.common import told
from benchmarks.report.pictures import FOLDER, Size, written
from benchmarks.report.results import Pretraining, Results
from benchmarks.report.thinning import thinned

NAME = "pretraining"
_MACHINERY = {"iter", "step", "epoch", "time", "data_time", "base_lr", "data_wait", "images_per_second", "matmul_share"}
_MACHINERY |= {"text_length", "memory"}


def mask_jobs(results: Results, site: Path) -> dict[Path, Path]:
    """Pictures of masks to paths (without suffix) in the site."""
    return {
        picture: site / FOLDER / slug(pretraining.name, picture.stem)
        for pretraining in results.pretrainings
        for picture, *_ in pretraining.masks
    }


def page(results: Results, jobs: Mapping[Path, Path], sizes: Mapping[Path, Size]) -> Page:
    """The page of all pretrainings.

    Args:
        results: what there is.
        jobs: from :func:`mask_jobs`.
        sizes: of the written pictures.
    """
    sections = []
    if any(pretraining.curves for pretraining in results.pretrainings):
        sections.append(Section("Loss curves", [_curves(results.pretrainings)]))
    for pretraining in results.pretrainings:
        if pretraining.masks:
            title = f"What the student sees, {pretraining.name}"
            lead = "View, the teacher's attention, the patches that are kept, and what the decoder makes of the rest."
            sections.append(Section(title, [_masks(pretraining, jobs, sizes)], lead))
    told_of = [pretraining for pretraining in results.pretrainings if pretraining.facts]
    if told_of:
        sections.append(Section("Settings", [_settings(pretraining) for pretraining in told_of]))
    return Page(NAME, "Pretraining", sections, "How the checkpoints of this folder were trained.", NAME)


def _curves(pretrainings: Sequence[Pretraining]) -> Figure:
    """A chart for each value, all trainings in it."""
    trained = [pretraining for pretraining in pretrainings if pretraining.curves]
    names = dict.fromkeys(name for each in trained for name in each.curves if name not in _MACHINERY)
    panels = []
    for name in names:
        series = [(each.name, *thinned(*each.curves[name])) for each in trained if name in each.curves]
        panels.append(Panel(shown(name, 40), lines(series, "step", name)))
    data = [
        [each.name, name, step, value]
        for each in trained
        for name in names
        for step, value in zip(*each.curves.get(name, ((), ())), strict=True)
    ]
    legend = [each.name for each in trained] if len(trained) > 1 else []
    return Figure("Losses and learning rate", panels, (["training", "value of", "step", "value"], data), legend=legend)


def _masks(pretraining: Pretraining, jobs: Mapping[Path, Path], sizes: Mapping[Path, Size]) -> Gallery:
    rows = []
    for path, caption, patches, removed in pretraining.masks:
        target = jobs[path]
        said = f"View, attention, kept patches and reconstruction; {shown(removed)} of {shown(patches)} patches removed"
        about = f"{shown(removed)} of {shown(patches)} patches removed"
        src = f"{FOLDER}/{written(target).name}"
        picture = Picture(
            src, sizes[target], f"{said}. Caption: {shown(caption, 200)}", shown(caption, 200) or path.stem, about
        )
        rows.append((target.name, "", [picture]))
    return Gallery("Masks", rows, wide=True)


def _settings(pretraining: Pretraining) -> Facts:
    facts = [(shown(str(name)), told(value), None) for name, value in pretraining.facts.items()]
    return Facts(f"Settings of {pretraining.name}", facts, folded=True)
