"""Names from records become harmless: as file names, as text, as cells of a spreadsheet."""

import re

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.printing import unfolded
from benchmarks.report.names import shown, slug

ANY = st.text(st.characters(), max_size=300)


@given(ANY, ANY)
def test_a_slug_is_a_plain_file_name(first: str, last: str) -> None:
    name = slug(first, last)
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*-[0-9a-f]{10}", name)
    assert len(name) <= 51


@given(st.lists(ANY, min_size=1, max_size=3), st.lists(ANY, min_size=1, max_size=3))
def test_slugs_of_different_texts_differ(one: list[str], other: list[str]) -> None:
    assert (slug(*one) == slug(*other)) == (one == other)


def test_slugs_stay_readable() -> None:
    assert slug("ab" * 32, "DetailCLIP base, 25 épochs").startswith("detailclip-base-25-epochs-")
    assert slug("../../etc/passwd").startswith("etc-passwd-")
    assert slug("日本").startswith("unnamed-")


@given(ANY)
def test_shown_text_has_one_line_and_an_end(text: str) -> None:
    assert len(shown(text, 60)) <= 60
    assert shown(text, 60).isprintable()


def test_ordinary_names_are_shown_as_they_are() -> None:
    assert shown("DetailCLIP (ema), 25 épochs <3") == "DetailCLIP (ema), 25 épochs <3"


def test_formulas_are_defused_and_numbers_are_not() -> None:
    assert unfolded("=HYPERLINK(1)") == "'=HYPERLINK(1)"
    assert [unfolded(each) for each in ("@x", "+1", "-1", "a=b")] == ["'@x", "'+1", "'-1", "a=b"]
    assert unfolded(-1.5) == -1.5
    assert unfolded(None) is None
