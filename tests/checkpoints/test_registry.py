"""The registry is complete and consistent: every row of the paper has an entry, and every entry can be acted upon."""

import re
import subprocess
import sys

import pytest
from open_clip.pretrained import get_pretrained_url
from timm.models.deit import default_cfgs

from benchmarks.checkpoints.families import family_named
from benchmarks.checkpoints.registry import ENTRIES, Entry, find, tables_of
from benchmarks.tables.layouts import LAYOUTS, paper_rows

EVERY = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)


def rows_of_the_paper() -> set[str]:
    """METHOD[@EPOCHS] of every row of the four tables, under the name that it is asked for by."""
    rows = set()
    for number, layout in LAYOUTS.items():
        back = {target: alias for alias, target in layout.aliases.items()}
        names = [layout.row_name.format(**row).removesuffix("@") for row in paper_rows(number)]
        rows |= {back.get(name, name) for name in names}
    return rows


def test_every_row_of_the_paper_has_exactly_one_entry() -> None:
    """So that the list shows at a glance which cells can be reproduced."""
    rows = [entry.row for entry in ENTRIES if entry.row]
    assert len(rows) == len(set(rows))
    assert set(rows) == rows_of_the_paper()


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("clip-vitb16-400m", (1,)),
        ("clip-vitb16-yfcc15m-25e", (2, 3)),
        ("slip-vitb16-25e", (1, 2, 3)),
        ("slip-vitb16-50e", (2, 3)),
        ("detailclip-vitb16-25e", (1, 2, 3, 4)),
        ("detailclip-vitb16-25e-alphas-0-0-1", (4,)),
        ("dino-vitb16", (1,)),
        ("slip-vits16-25e", ()),
    ],
)
def test_the_tables_that_have_an_entrys_row(name: str, tables: tuple[int, ...]) -> None:
    entry = find(name)
    assert entry is not None
    assert tables_of(entry) == tables


def test_names_files_and_addresses_are_unique() -> None:
    addresses = [entry.address for entry in ENTRIES if entry.address]
    for values in ([entry.name for entry in ENTRIES], [entry.filename for entry in ENTRIES], addresses):
        assert len(values) == len(set(values))


@EVERY
def test_an_entry_is_well_formed(entry: Entry) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*[a-z0-9]", entry.name)
    assert find(entry.name) is entry
    assert entry.filename in (entry.name + ".pt", entry.name + ".pth")
    assert entry.source.startswith("https://github.com/")
    assert "\n" not in entry.how + entry.note
    if entry.state == "public":
        assert entry.address is not None
        assert re.fullmatch(r"https://[\w./-]+\.pth?", entry.address)
        assert not entry.how
    else:
        assert entry.address is None
        assert entry.how
        assert "github.com" in entry.how or "bench pretrain" in entry.how
    for digits, most in ((entry.sha256, 64), (entry.md5, 32)):
        assert digits is None or (re.fullmatch(r"[0-9a-f]{6,}", digits) and len(digits) <= most)


@EVERY
def test_its_family_is_declared_wherever_a_file_can_be_loaded(entry: Entry) -> None:
    assert (family_named(entry.family) is None) == (entry.state == "layout unknown")


def test_openais_addresses_and_hashes_are_those_that_open_clip_knows() -> None:
    models = {"clip-vitb16-400m": "ViT-B-16", "clip-vitb32-400m": "ViT-B-32", "clip-vitl14-400m": "ViT-L-14"}
    models["clip-vitl14-336-400m"] = "ViT-L-14-336"
    for name, model in models.items():
        entry = find(name)
        assert entry is not None
        assert entry.address == get_pretrained_url(model, "openai")
        assert entry.sha256 is not None
        assert entry.sha256 in str(entry.address)


def test_deits_addresses_are_those_that_timm_knows_and_hold_the_first_digits_of_the_hash() -> None:
    known = {cfg.default.url for cfg in default_cfgs.values()}
    deits = [entry for entry in ENTRIES if entry.family.startswith("deit")]
    assert len(deits) == 3
    for entry in deits:
        assert entry.address in known
        assert str(entry.address).endswith(f"-{entry.sha256}.pth")
        assert len(str(entry.sha256)) == 8


def test_the_rows_that_cannot_be_reproduced_are_said_to_be() -> None:
    lacking = {entry.row for entry in ENTRIES if entry.row and entry.state in ("no public weights", "layout unknown")}
    ablation = {f"DetailCLIP({alphas})@25" for alphas in ("1,1,0", "1,1,2", "0.5,0.5,0.5", "0,0,1")}
    table12 = {"AttMask@300", "CLIP@50", "MaskCLIP@25", "A-CLIP@25", "A-CLIP@50", "DetailCLIP@25"}
    assert lacking == table12 | ablation
    assert [entry.row for entry in ENTRIES if entry.state == "by hand" and entry.row] == ["DetailCLIP@50"]


def test_a_row_whose_epochs_are_not_those_of_the_file_says_so() -> None:
    for name in ("mae-vitb16", "dino-vitb16", "ibot-vitb16"):
        entry = find(name)
        assert entry is not None
        assert entry.row is not None
        assert f"prints {entry.row.partition('@')[2]} epochs" in entry.note


def test_it_is_listed_without_the_heavy_libraries() -> None:
    code = (
        "import sys; from benchmarks.checkpoints.registry import ENTRIES; from benchmarks.checkpoints import resolve; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'timm', 'open_clip', 'numpy', 'urllib.request')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
