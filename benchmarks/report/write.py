"""Write the whole report."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks.comparison import compare
from benchmarks.records import Store
from benchmarks.report import pictures, thumbnails
from benchmarks.report.kinds import Sampled, kind_of
from benchmarks.report.pages import benchmarks, checkpoints, comparison, gallery, overview, runs, tables, training
from benchmarks.report.results import Results, gather, representatives
from benchmarks.report.site import Site, replaced

Say = Callable[[str], None]


def write_report(out: Path, to: Path, say: Say, compared: Sequence[str] = ()) -> Path:
    """Make the site of everything below ``out`` in ``to``; an older report there is replaced when the new one is whole.

    The same results give the same pages, but for the time at their feet.

    Args:
        out: the results folder: runs in ``out/runs``, pretrainings beside it or in ``out/pretrained``.
        to: the site's folder: new, empty, or an earlier report.
        say: called with one line for the user.
        compared: checkpoints for a page that compares them with the first, as `bench compare` takes them; or none.

    Returns:
        The page to open.

    Raises:
        OptionError: ``to`` holds something else, or one of ``compared`` stands for nothing or for several things.
        RecordError: there is nothing to report, or a record, its samples or a picture is damaged.
    """
    results = gather(out)
    differences = compare(Store(out), compared) if compared else None
    with replaced(to) as folder:
        by_name = results.benchmarks()
        small = {name: thumbnails.collect(name, own) for name, own in by_name.items() if thumbnails.are_saved_by(name)}
        others = [(name, own) for name, own in by_name.items() if name not in small]
        galleries = [group for name, own in others for group in gallery.collect(name, own)]
        masks = training.mask_jobs(results, folder)
        (folder / pictures.FOLDER).mkdir()
        cut = {path: targets for group in galleries for path, targets in group.jobs(folder).items()}
        whole = masks | {path: target for each in small.values() for path, target in each.jobs(folder).items()}
        sizes = pictures.write_panels(cut) | pictures.write_whole(whole)
        count = len(cut) + len(whole)
        site = Site(folder, _navigation(results, bool(sizes), bool(compared)), _about())
        site.write(overview.page(results, count))
        site.write(tables.page(results))
        for page in (*checkpoints.pages(results), *runs.pages(results)):
            site.write(page)
        _write_benchmarks(site, results, galleries, small, sizes)
        if results.pretrainings:
            site.write(training.page(results, masks, sizes))
        if differences:
            site.write(comparison.page(differences))
        if sizes:
            site.write(gallery.index(galleries, list(small.values()), len(masks), training.NAME))
        site.finish({"runs": len(results.runs), "pictures": count})
    say(f"{to}: {len(results.runs)} runs, {count} pictures")
    return to / f"{overview.NAME}.html"


def _write_benchmarks(
    site: Site,
    results: Results,
    galleries: list[gallery.Shown],
    small: dict[str, thumbnails.Thumbnails],
    sizes: dict[Path, pictures.Size],
) -> None:
    """The pages of benchmarks and of their pictures; samples are read once and kept for one benchmark at a time."""
    store = Store(results.out)
    for name, own in results.benchmarks().items():
        groups = [group for group in galleries if group.benchmark == name]
        addresses = {
            run.record.run_id: {sample: group.address(sample) for sample in group.files}
            for group in groups
            for run in group.runs
        }
        wanted = {
            run.record.run_id: run for run in [*representatives(own), *(run for group in groups for run in group.runs)]
        }
        sampled = {
            run_id: Sampled(run, store.read_samples(run_id), addresses.get(run_id, {}))
            for run_id, run in wanted.items()
        }
        if name in small:
            sampled = {run_id: small[name].beside(each, site.folder, sizes) for run_id, each in sampled.items()}
        shown = [sampled[run.record.run_id] for run in representatives(own)]
        kind = kind_of(shown[0].samples.columns)
        if groups:
            site.write(gallery.page(groups, sampled, kind, site.folder, sizes))
        site.write(benchmarks.page(name, own, shown, kind, groups[0].page if groups else None))


def _navigation(results: Results, has_pictures: bool, has_comparison: bool) -> list[tuple[str, str]]:
    """The entries at the top: what there is."""
    entries = [("Overview", overview.NAME), ("Tables", tables.NAME)]
    entries += [("Comparison", comparison.NAME)] if has_comparison else []
    entries += [("Pictures", gallery.NAME)] if has_pictures else []
    entries += [("Pretraining", training.NAME)] if results.pretrainings else []
    return entries


def _about() -> str:
    return f"detailclip-bench {metadata.version('detailclip-bench')}, {datetime.now(UTC):%d %B %Y, %H:%M} UTC"
