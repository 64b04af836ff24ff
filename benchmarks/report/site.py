"""The folder of the site: everything is written to an unfinished one, which takes the old one's place when whole."""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.errors import OptionError
from benchmarks.files import TEMPORARY, exclusive, remove_folder
from benchmarks.printing import unfolded
from benchmarks.report.blocks import Data, Page
from benchmarks.report.names import slug

MARKER = "report.json"
FORMAT = "detailclip-bench report"
DATA = "data"
ASSETS = "assets"


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; on success it becomes ``folder``, and an older report there is removed.

    The files in it need not be written one by one atomically: the folder is whole or absent. Everything is flushed to
    disk before it appears.

    Args:
        folder: does not exist, is empty, or is an earlier report.

    Raises:
        OptionError: it is something else.
        RecordError: another process makes a report there.
    """
    folder = folder.resolve()
    if folder.exists() and not _may_go(folder):
        raise OptionError(f"--to {folder}: exists and is no report; name a new or empty folder")
    work = folder.parent / f"{TEMPORARY}{slug(folder.name)}"
    with exclusive(work):
        unfinished = work / "site"
        if unfinished.exists():  # of a process that was killed
            shutil.rmtree(unfinished)
        unfinished.mkdir()
        try:
            yield unfinished
            os.sync()
            if folder.exists():
                remove_folder(folder)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(work)


def _may_go(folder: Path) -> bool:
    """Whether the folder is empty or holds a report, so that nothing of the user's is lost."""
    return folder.is_dir() and ((folder / MARKER).is_file() or not any(folder.iterdir()))


@dataclass(frozen=True)
class Site:
    """Writes pages into a folder.

    Attributes:
        folder: of the site.
        navigation: (title, name of the page) of the entries at the top of every page.
        about: a line at the foot of every page.
    """

    folder: Path
    navigation: Sequence[tuple[str, str]]
    about: str
    templates: Any = field(init=False)

    def __post_init__(self) -> None:
        """Prepare the templates: everything that is put into one is escaped."""
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        here = Path(__file__).parent
        environment = Environment(
            loader=FileSystemLoader(here / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["slug"] = slug
        object.__setattr__(self, "templates", environment)
        (self.folder / DATA).mkdir(exist_ok=True)
        shutil.copytree(here / ASSETS, self.folder / ASSETS, ignore=shutil.ignore_patterns("*.py", "__pycache__"))

    def write(self, page: Page) -> None:
        """Write a page and the CSV files behind its blocks."""
        number, sections = 0, []
        for section in page.sections:
            blocks = []
            for block in section.blocks:
                number += 1
                blocks.append((block, self._csv(f"{page.name}-{number}", block.data())))
            sections.append((section, blocks))
        for _, name, content in page.downloads:
            self._text(Path(DATA, name), content)
        html = self.templates.get_template("page.html").render(page=page, sections=sections, site=self, data=DATA)
        self._text(Path(f"{page.name}.html"), html)

    def _csv(self, name: str, data: Data | None) -> str | None:
        """Write the data of a block; where they lie, seen from the page."""
        if data is None:
            return None
        headings, rows = data
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([unfolded(heading) for heading in headings])
        writer.writerows([unfolded(value) for value in row] for row in rows)
        self._text(Path(DATA, f"{name}.csv"), stream.getvalue())
        return f"{DATA}/{name}.csv"

    def _text(self, path: Path, text: str) -> None:
        """Write a file of the site; half of a surrogate pair, which JSON can hold and UTF-8 cannot, is spelt out."""
        (self.folder / path).write_text(text, encoding="utf-8", errors="backslashreplace")

    def finish(self, told: dict[str, Any]) -> None:
        """Mark the folder as a report, so that a later one may take its place."""
        marker = {"format": FORMAT, **told}
        self._text(Path(MARKER), json.dumps(marker, indent=2) + "\n")
