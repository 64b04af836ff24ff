"""How long a report of 300 records and 1,000 pictures takes: ``python -m tests.report.profile``.

The runs are invented, of the official numbers of images up to ``--images``; the pictures are as large as COCO's.
"""

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.report import write_report
from tests.report.world import ALL, write_pretraining, write_world


def checkpoints(count: int) -> Mapping[str, Mapping[str, Any]]:
    """Some checkpoints, each with a row of its own; of the same skill, more or less."""
    return {
        f"checkpoint-{number}": {"row": f"mine-{number}", "family": "slip", "sha256": f"{number:064x}", "skill": 0.6}
        for number in range(count)
    }


def main() -> None:
    """Write the results, then the report, and say what the report took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=int, default=7)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--pictures", type=int, default=8, help="of each run that saves any")
    parser.add_argument("--functions", type=int, default=0, help="list the functions that took longest")
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        shown = checkpoints(options.checkpoints)
        records = write_world(out, ALL, options.seeds, options.images, options.pictures, 480, shown)
        write_pretraining(out / "tiny", steps=100_000)
        console.print(f"{len(records)} records written")
        profiler = cProfile.Profile()
        start, computed = time.perf_counter(), time.process_time()
        if options.functions:
            profiler.enable()
        write_report(out, out / "report", console.print)
        profiler.disable()
        files = [path for path in (out / "report").rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files) / 2**20
        took = f"{time.perf_counter() - start:.1f} s ({time.process_time() - computed:.1f} s of computing)"
        console.print(f"{took}, {len(files)} files, {size:.0f} MiB")
        if options.functions:
            pstats.Stats(profiler).sort_stats("cumulative").print_stats(options.functions)


if __name__ == "__main__":
    main()
