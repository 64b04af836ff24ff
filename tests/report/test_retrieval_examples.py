"""What is shown of queries and their answers: worked through by hand, then as it stands on the page."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.errors import RecordError
from benchmarks.records import Store
from benchmarks.report import write_report
from benchmarks.report.blocks import Answers, Grid, Section
from benchmarks.report.kinds.kind import Sampled
from benchmarks.report.kinds.retrieval import EXAMPLES, RETRIEVAL
from benchmarks.report.kinds.retrieval_examples import WITHOUT_PICTURES, told_by
from benchmarks.report.names import slug
from benchmarks.report.results import Run
from benchmarks.zeroshot.pictures import file_name, spread
from tests.example_record import make_record
from tests.report.html import Element, parse
from tests.report.test_hostile import MARK, NASTY, examine, hostile_record, put
from tests.report.world import write_world

PAGE = f"benchmark-{slug('flickr8k-retrieval')}"


def samples(**changes: Any) -> pd.DataFrame:
    """Three pictures with two, one and one captions; as they are read from a file."""
    columns = {
        "sample_id": ["x", "y", "z"],
        "i2t_rank": [1, 3, 2],
        "t2i_ranks": [np.array([2, 1]), np.array([3]), np.array([1])],
        "captions": [["a cat", "the cat"], ["a dog"], ["a horse"]],
        "i2t_top": [["x#1", "y#0", "x#0"], ["x#0", "z#0", "y#0"], ["y#0", "z#0", "x#0"]],
        "i2t_top_scores": [[0.9, 0.5, 0.4], [0.6, 0.5, 0.4], [0.3, 0.2, 0.1]],
        "t2i_top": [[["y", "x", "z"], ["x", "z", "y"]], [["z", "x", "y"]], [["z", "x", "y"]]],
        "t2i_top_scores": [[[0.5, 0.4, 0.1], [0.8, 0.2, 0.1]], [[0.3, 0.2, 0.1]], [[0.7, 0.2, 0.1]]],
    }
    return pd.DataFrame(columns | changes)


def sampled(frame: pd.DataFrame, *saved: str, name: str = "mine", data: str = "d" * 16) -> Sampled:
    record = make_record(run_id=name, data={"fingerprint": data})
    addresses = {sample_id: f"pictures/{sample_id}.jpg" for sample_id in saved}
    return Sampled(Run(record, Path("nowhere"), name, ""), frame, addresses, dict.fromkeys(saved, (40, 30)))


def sections(*runs: Sampled) -> dict[str, Section]:
    return {section.title: section for section in RETRIEVAL.sections(runs)}


def answers(*runs: Sampled) -> list[Answers]:
    return [block for block in sections(*runs)[EXAMPLES].blocks if isinstance(block, Answers)]


def test_a_caption_shows_the_pictures_that_come_first_and_which_is_right() -> None:
    by_caption, _ = answers(sampled(samples()))
    assert [query.text for query in by_caption.queries] == ["“a cat”", "“a horse”", "“a dog”"], "spread over the set"
    (name, rank, first) = by_caption.queries[0].found[0]
    assert (name, rank) == ("mine", 2)
    assert [(answer.text, answer.score, answer.right) for answer in first] == [
        ("y: a dog", 0.5, False),
        ("x: a cat", 0.4, True),
        ("z: a horse", 0.1, False),
    ]


def test_a_picture_shows_the_captions_that_come_first_and_any_own_one_is_right() -> None:
    _, by_picture = answers(sampled(samples()))
    query = by_picture.queries[0]
    assert (query.text, query.note, query.found[0][1]) == ("x", "first of its captions: “a cat”", 1)
    assert [(answer.text, answer.right) for answer in query.found[0][2]] == [
        ("“the cat”", True),
        ("“a dog”", False),
        ("“a cat”", True),
    ]


def test_every_answer_is_a_line_of_the_csv_file() -> None:
    by_caption, by_picture = answers(sampled(samples()), sampled(samples(), name="other"))
    data = by_caption.data()
    assert data is not None
    headings, rows = data
    assert len(rows) == 2 * 3 * 3
    line = dict(zip(headings, rows[1], strict=True))
    assert line == {
        "run": "mine",
        "picture": "x",
        "caption": "a cat",
        "place of the right one": 2,
        "place": 2,
        "answer": "x",
        "its caption": "a cat",
        "cosine": 0.4,
        "right": "yes",
    }
    assert {row[0] for row in rows} == {"mine", "other"}
    assert by_picture.values[1][0][5:7] == ["x#1", "the cat"]


def test_models_stand_side_by_side_with_the_same_queries() -> None:
    for block in answers(sampled(samples()), sampled(samples(), name="other")):
        assert [[name for name, *_ in query.found] for query in block.queries] == [["mine", "other"]] * 3


def test_runs_on_other_data_have_queries_of_their_own() -> None:
    blocks = answers(sampled(samples()), sampled(samples(), name="other", data="e" * 16))
    assert [block.title.partition(", data ")[2] for block in blocks] == ["d" * 16] * 2 + ["e" * 16] * 2
    assert all(len(query.found) == 1 for block in blocks for query in block.queries)


def many(count: int) -> pd.DataFrame:
    """Every caption finds its own picture and the one before it."""
    names = [f"{at}" for at in range(count)]
    return pd.DataFrame(
        {
            "sample_id": names,
            "i2t_rank": 1,
            "t2i_ranks": [[1]] * count,
            "captions": [[f"caption {name}"] for name in names],
            "i2t_top": [[f"{name}#0"] for name in names],
            "i2t_top_scores": [[0.5]] * count,
            "t2i_top": [[[names[at], names[at - 1]]] for at in range(count)],
            "t2i_top_scores": [[[0.5, 0.4]]] * count,
        }
    )


def test_without_pictures_a_few_queries_are_shown_in_words() -> None:
    by_caption, by_picture = answers(sampled(many(100)))
    assert len(by_caption.queries) == len(by_picture.queries) == WITHOUT_PICTURES
    assert not any(query.pictured or query.picture for query in (*by_caption.queries, *by_picture.queries))
    assert "--pictures N" in sections(sampled(many(100)))[EXAMPLES].lead


@pytest.mark.parametrize("saved", [1, 3, 20])
def test_as_many_queries_are_shown_as_have_their_pictures(saved: int) -> None:
    whole = many(100)
    wanted = [
        name for place in spread(100)[:saved] for name in (whole["sample_id"][place], *whole["t2i_top"][place][0])
    ]
    by_caption, by_picture = answers(sampled(whole), sampled(whole, *wanted, name="other"))
    assert len(by_caption.queries) == len(by_picture.queries) == max(saved, WITHOUT_PICTURES)
    picture = by_caption.queries[0].found[1][2][0].picture
    assert picture is not None
    assert (picture.src, picture.size, picture.alt) == ("pictures/0.jpg", (40, 30), "Picture 0: caption 0")
    assert "--pictures" not in sections(sampled(whole, *wanted))[EXAMPLES].lead


def test_a_picture_that_is_not_there_is_named() -> None:
    by_caption, _ = answers(sampled(samples(), "x"))
    first = by_caption.queries[0].found[0][2]
    assert [answer.picture is None for answer in first] == [True, False, True]
    assert first[0].text == "y: a dog"


def test_an_answer_that_is_no_sample_is_named_all_the_same() -> None:
    unknown = samples(
        t2i_top=[[["gone", "x", "y"], ["x", "y", "z"]], [["y", "x", "z"]], [["z", "x", "y"]]],
        i2t_top=[["gone#7", "x#one", "x#0"]] * 3,
    )
    by_caption, by_picture = answers(sampled(unknown))
    assert by_caption.queries[0].found[0][2][0].text == "gone"
    assert [answer.text for answer in by_picture.queries[0].found[0][2]] == ["“gone#7”", "“x#one”", "“a cat”"]


# ---- the worst


def worst(title: str, *runs: Sampled) -> list[list[object]]:
    blocks = sections(*runs)["Best and worst queries"].blocks
    (found,) = (block for block in blocks if isinstance(block, Grid) and block.title == title)
    return [[cell.value for cell in row] for row in found.rows]


def test_captions_whose_picture_was_found_last_come_with_what_was_found_first() -> None:
    assert worst("Captions whose picture was found last", sampled(samples())) == [
        ["a dog", "mine", "y", 3, "z", 0.3],
        ["a cat", "mine", "x", 2, "y", 0.5],
    ], "what was found at once is not among the worst"


def test_pictures_whose_captions_were_found_last_come_with_what_was_found_first() -> None:
    assert worst("Pictures whose captions were found last", sampled(samples())) == [
        ["y", "mine", "a dog", 3, "a cat", 0.6],
        ["z", "mine", "a horse", 2, "a dog", 0.3],
    ]


# ---- records of places alone, and damaged ones

OLD = samples()[["sample_id", "i2t_rank", "t2i_ranks"]]


def test_records_of_places_alone_show_what_they_showed() -> None:
    found = sections(sampled(OLD))
    assert list(found) == ["Distribution over ranks", "Best and worst queries"]
    assert [block.title for block in found["Best and worst queries"].blocks] == [
        "Pictures found last",
        "Pictures found first",
    ]
    assert "not the answers before it" in found["Best and worst queries"].lead


def test_beside_others_they_are_said_to_have_none() -> None:
    found = sections(sampled(OLD, name="old"), sampled(samples(), name="new"))[EXAMPLES]
    assert found.lead.endswith("Of old places alone were recorded.")
    assert all(
        [name for name, *_ in query.found] == ["new"]
        for block in found.blocks
        if isinstance(block, Answers)
        for query in block.queries
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"captions": [["a cat"], ["a dog"], ["a horse"]]},
        {"captions": ["ab", "c", "d"]},
        {"captions": [None, ["a dog"], ["a horse"]]},
        {"i2t_top": [[], [], []], "i2t_top_scores": [[], [], []]},
        {"i2t_top_scores": [[0.1], [0.1], [0.1]]},
        {"t2i_top": 7},
        {"sample_id": ["x", "y", "x"]},
        {"t2i_top": [[None, ["x"]], [["y"]], [["z"]]]},
        {"t2i_top_scores": [[[0.1], [0.1]], [[0.1]], [[0.1]]]},
        {"i2t_top_scores": [["a", "b", "c"]] * 3},
    ],
)
def test_columns_that_do_not_fit_together_are_one_line(changes: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match=r"samples\.parquet: its lists of answers do not fit together"):
        told_by([sampled(samples(**changes))])


# ---- the page


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("retrieval")
    write_world(out, ("flickr8k-retrieval",), images=64, pictures=2)
    return out


@pytest.fixture(scope="module")
def page(world: Path) -> Element:
    write_report(world, world / "report", lambda line: None)
    return parse(world / "report" / f"{PAGE}.html")


def test_the_page_shows_pictures_with_words_for_those_who_do_not_see_them(world: Path, page: Element) -> None:
    for query in page.classed("query"):
        assert query.all("h4")[0].text
        assert len(query.all("ol")) == 3, "one for each checkpoint"
        for picture in query.all("img"):
            source = world / "report" / picture.attributes["src"]
            assert source.is_file()
            with Image.open(source) as shown:
                assert shown.size == (int(picture.attributes["width"]), int(picture.attributes["height"]))
            assert picture.attributes["alt"].startswith("Picture 0000")
            assert "a dog runs on a beach" in picture.attributes["alt"]
    assert len(page.classed("strip")) >= 6


def test_right_answers_are_marked_in_words(page: Element) -> None:
    for item in (item for query in page.classed("query") for item in query.all("li")):
        assert ("✓ right" in item.text) == (item.attributes.get("class") == "right")
    assert page.classed("right")


def test_the_data_lie_beside_the_examples(world: Path, page: Element) -> None:
    section = next(each for each in page.all("section") if each.all("h2")[0].text == EXAMPLES)
    links = [link.attributes["href"] for link in section.classed("csv")]
    assert len(links) == 2
    with (world / "report" / links[0]).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    strip = section.classed("strip")[0]
    first = [row for row in rows if row["run"] == rows[0]["run"] and row["picture"] == rows[0]["picture"]]
    assert [f"{float(row['cosine']):.3f}" for row in first] == [item.text.split()[-1] for item in strip.all("li")]
    assert [row["right"] == "yes" for row in first] == ["right" in item.text for item in strip.all("li")]


def test_the_pictures_are_found_from_the_list_of_all(world: Path, page: Element) -> None:
    (link,) = (
        link for link in parse(world / "report" / "pictures.html").all("a") if link.attributes["href"].startswith(PAGE)
    )
    assert link.attributes["href"] == f"{PAGE}.html"
    assert EXAMPLES in [element.text for element in page.all()]
    assert not (world / "report" / f"pictures-{slug('flickr8k-retrieval')}.html").exists(), "they are no rows"


def test_a_picture_that_was_lost_leaves_its_name(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "runs", tmp_path / "out" / "runs")
    for path in (tmp_path / "out").rglob(file_name("000000000")):
        path.unlink()
    write_report(tmp_path / "out", tmp_path / "report", lambda line: None)
    found = parse(tmp_path / "report" / f"{PAGE}.html")
    assert not [each for each in found.all("img") if "000000000" in each.attributes["alt"]]
    assert "000000000: a dog runs on a beach" in found.classed("query")[0].text


def test_a_picture_that_is_none_is_refused_by_name(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "runs", tmp_path / "out" / "runs")
    for path in (tmp_path / "out").rglob(file_name("000000000")):
        path.write_bytes(b"<script>")
    with pytest.raises(RecordError, match=r"000000000\.png is no picture"):
        write_report(tmp_path / "out", tmp_path / "report", lambda line: None)


@pytest.mark.parametrize("text", NASTY)
def test_hostile_captions_and_names_are_only_text(tmp_path: Path, text: str) -> None:
    out, ids = tmp_path / "out", [f"{text}{at}" for at in range(3)]
    record = hostile_record(text) | {"benchmark": "flickr8k-retrieval"}
    frame = samples(
        sample_id=ids,
        captions=[[text, text], [text], [text]],
        i2t_top=[[f"{ids[0]}#1", text], [text, f"{ids[1]}#0"], [f"{ids[2]}#0", f"{ids[2]}#x"]],
        i2t_top_scores=[[0.5, np.nan]] * 3,
        t2i_top=[[[ids[1], text], ids], [ids], [ids]],
        t2i_top_scores=[[[0.5, 0.4], [0.3, 0.2, 0.1]], [[0.3, 0.2, 0.1]], [[0.3, 0.2, 0.1]]],
    )
    put(out, record, frame)
    pictures = Store(out).folder(record["run_id"]) / "pictures"
    pictures.mkdir()
    for name in ids[:2]:
        Image.new("RGB", (8, 6)).save(pictures / file_name(name))
    write_report(out, tmp_path / "site", lambda line: None)
    examine(tmp_path, tmp_path / "site")
    found = parse(tmp_path / "site" / f"{PAGE}.html")
    assert MARK in found.classed("query")[0].text
    (picture,) = found.classed("query")[0].all("img")
    assert MARK in picture.attributes["alt"], "it is shown, as text"


def test_what_is_read_from_a_file_is_what_was_worked_through(tmp_path: Path) -> None:
    samples().to_parquet(tmp_path / "samples.parquet")
    read = replace(sampled(samples()), samples=pd.read_parquet(tmp_path / "samples.parquet"))
    assert answers(read) == answers(sampled(samples()))
