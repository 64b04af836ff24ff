"""Pictures that retrieval runs saved: each is shown wherever it asks or is found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.report.kinds import Sampled
from benchmarks.report.names import slug
from benchmarks.report.pictures import FOLDER, Size, written
from benchmarks.report.results import Run, known_benchmark, representatives
from benchmarks.zeroshot.pictures import file_name

_RUNNER = "benchmarks.zeroshot.retrieval"


@dataclass(frozen=True)
class Thumbnails:
    """The pictures of one benchmark.

    Attributes:
        benchmark: its id.
        files: fingerprint of the data to name of the file to the file, which is the same in all runs that have it.
    """

    benchmark: str
    files: Mapping[str, Mapping[str, Path]]

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(map(len, self.files.values()))

    def jobs(self, site: Path) -> dict[Path, Path]:
        """The pictures to paths (without suffix) in the site."""
        return {
            path: self._target(site, data, name) for data, files in self.files.items() for name, path in files.items()
        }

    def _target(self, site: Path, data: str, name: str) -> Path:
        return site / FOLDER / slug(self.benchmark, data, name.removesuffix(".png"))

    def beside(self, each: Sampled, site: Path, sizes: Mapping[Path, Size]) -> Sampled:
        """The run with the pictures of its samples, those too that another run on the same data saved.

        Args:
            each: the run.
            site: where the pictures were written.
            sizes: of all written pictures.
        """
        data = each.run.record.data.fingerprint
        files = self.files.get(data, {})
        named = {sample_id: file_name(sample_id) for sample_id in each.samples["sample_id"].astype(str)}
        there = {sample_id: self._target(site, data, name) for sample_id, name in named.items() if name in files}
        return replace(
            each,
            pictures={sample_id: f"{FOLDER}/{written(target).name}" for sample_id, target in there.items()},
            sizes={sample_id: sizes[target] for sample_id, target in there.items()},
        )


def are_saved_by(benchmark: str) -> bool:
    """Whether the pictures of a benchmark's runs are such, and no rows of image, truth and prediction."""
    known = known_benchmark(benchmark)
    return known is not None and known.runner == _RUNNER


def collect(benchmark: str, runs: Sequence[Run]) -> Thumbnails:
    """The pictures of the runs that are shown side by side."""
    files: dict[str, dict[str, Path]] = {}
    for run in representatives(runs):
        own = files.setdefault(run.record.data.fingerprint, {})
        for path in sorted((run.folder / "pictures").glob("*.png")):
            own.setdefault(path.name, path)
    return Thumbnails(benchmark, files)
