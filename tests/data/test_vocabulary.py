"""Class names and templates: they are the published ones, fit the data sets' own keys, and a user's are checked."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.data import vocabulary as module
from benchmarks.data.root import SAMPLE_MARKER
from benchmarks.data.vocabulary import Vocabulary, shipped, vocabulary_of, with_prompts, write_vocabulary
from benchmarks.errors import DataError, OptionError

# What SLIP, A-CLIP and DetailCLIP evaluate with: classes, digest of the names, templates, digest of the templates.
PUBLISHED = {
    "imagenet": (1000, "571ae1c583b4be7d", 7, "6ef3883987d224b7"),
    "sun397": (397, "dd1277b1cfcf09ba", 2, "c97a3d1ad5819800"),
    "aircraft": (100, "e1c9e72060e63d52", 2, "91522de75ad44711"),
    "dtd": (47, "681d23b9cd3c2ede", 8, "1f6888d2130f62a4"),
    "pets": (37, "c6f4365ced9dc96f", 1, "16a0790f0e45e97e"),
    "flowers": (102, "5429e1ef6e0e5aa3", 1, "bfcd4bbb214d5015"),
    "gtsrb": (43, "953036bc5aedbe6b", 3, "a6794061485dcfa2"),
    "mnist": (10, "29dd21f55e4611d4", 1, "c0341e0a1fdfd8fb"),
    "stl10": (10, "08b234ce7b11dbd3", 2, "c97a3d1ad5819800"),
    "kitti": (4, "1fb4e100139fbd3f", 1, "44136fa355b3678a"),
    "country211": (211, "027b30d283f3a153", 5, "038d0d5e084b6ee1"),
    "pcam": (2, "27352df7ede1fd87", 1, "7c7758b084ef77fa"),
    "clevr": (8, "3c9410fd14f4550f", 1, "da3770f103c74310"),
    "sst2": (2, "2e61aa7558046c2c", 1, "9034019e8a14384c"),
    "food101": (101, "9c0eeb5a368baacb", 1, "77a79bac7d9cf25b"),
    "cifar10": (10, "bb3914949cecedee", 18, "9bbf912e1144ca4c"),
    "cifar100": (100, "60ae3a3ac1355fcf", 18, "9bbf912e1144ca4c"),
    "cars": (196, "93d089469409bbd0", 8, "255ecc632c41182c"),
    "caltech101": (102, "e0ecbf33d0f07158", 34, "90561580b7ea5dba"),
    "eurosat": (10, "ee2e41b9973e7206", 3, "9bc85d9f1798d03b"),
}
ALL = (*PUBLISHED, "fer2013")

# The same sets in the reference lists and in clip-benchmark, where those call them otherwise.
REFERENCE_NAMES = {
    "kitti": "kitti_distance",
    "pcam": "patch_camelyon",
    "clevr": "clevr_counts",
    "sst2": "rendered_sst2",
}


def only_names(vocabulary: Vocabulary) -> list[str]:
    return [name for (name,) in vocabulary.names]


def by_key(vocabulary: Vocabulary) -> dict[str, str]:
    return dict(zip(vocabulary.keys, only_names(vocabulary), strict=True))


# ---- the shipped lists


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_names_and_templates_are_the_published_ones(dataset: str) -> None:
    found = shipped(dataset)
    published = (len(found.names), found.names_digest, len(found.templates), found.templates_digest)
    assert published == PUBLISHED[dataset]


@pytest.mark.parametrize("dataset", ALL)
def test_each_class_has_a_key_of_its_own(dataset: str) -> None:
    found = shipped(dataset)
    assert found.dataset == dataset
    assert len(set(found.keys)) == len(found.keys) == len(found.names)
    assert found.source.startswith("keys: ")


def test_every_shipped_file_is_tested() -> None:
    assert sorted(ALL) == sorted(file.stem for file in Path(module.__file__).with_name("vocabularies").glob("*.json"))


def test_an_unknown_data_set_has_no_names() -> None:
    with pytest.raises(DataError, match=r"^cub200: no class names are shipped .* aircraft, caltech101, "):
        shipped("cub200")


@pytest.mark.real_data
@pytest.mark.parametrize("dataset", ALL)
def test_lists_equal_the_reference(dataset: str, real_data: Path) -> None:
    name = REFERENCE_NAMES.get(dataset, dataset)
    labels = json.loads((real_data / "prompts/labels.json").read_text())[name]
    templates = json.loads((real_data / "prompts/templates.json").read_text())[name]
    found = shipped(dataset)
    assert [list(names) for names in found.names] == [[x] if isinstance(x, str) else x for x in labels]
    assert list(found.templates) == templates


def test_mistakes_of_the_published_lists_are_kept() -> None:
    signs, objects = " ".join(only_names(shipped("gtsrb"))), only_names(shipped("imagenet"))
    assert "bicyle" in signs
    assert "horizonal" in signs
    assert [objects.count(name) for name in ("missile", "sunglasses")] == [2, 2]
    assert "head of a  crocodile" in only_names(shipped("caltech101"))


def test_fer2013_has_several_names_for_some_classes() -> None:
    found = shipped("fer2013")
    assert found.keys == ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    assert [len(names) for names in found.names] == [1, 1, 1, 2, 2, 2, 3]
    assert len(found.prompts(6)) == 18
    assert found.prompts(3)[5:7] == ["look at how happy they are.", "a photo of a smiling looking face."]


# ---- the keys: how the data sets name their classes


def test_keys_of_imagenet_are_the_sorted_wordnet_ids() -> None:
    import timm

    path = Path(timm.__file__).parent / "data/_info/imagenet_synsets.txt"
    assert list(shipped("imagenet").keys) == sorted(path.read_text().split())


def test_names_of_sun397_are_its_keys_in_words() -> None:
    found = shipped("sun397")
    for key, name in by_key(found).items():
        letter, path = key[1], key[3:]
        assert path[0] == letter
        assert name == path.replace("/", " ").replace("_", " ")
    # ClassName.txt is in the order of its paths; the names are sorted as words. They differ in one place.
    moved = [key for key, line in zip(found.keys, sorted(found.keys), strict=True) if key != line]
    assert moved == ["/j/jail_cell", "/j/jail/indoor"]


@pytest.mark.parametrize("dataset", [name for name in ALL if name not in ("sun397", "flowers", "cars")])
def test_folders_in_their_order_give_the_labels(dataset: str) -> None:
    assert list(shipped(dataset).keys) == sorted(shipped(dataset).keys)


def test_numbered_keys_count_numerically() -> None:
    for dataset, first, width in (("flowers", 1, 1), ("cars", 1, 1), ("gtsrb", 0, 5), ("mnist", 0, 1)):
        keys = shipped(dataset).keys
        assert keys == tuple(f"{number:0{width}}" for number in range(first, first + len(keys)))


@pytest.mark.parametrize("dataset", ["aircraft", "dtd", "stl10", "cifar10", "sst2"])
def test_keys_that_are_the_names(dataset: str) -> None:
    assert list(shipped(dataset).keys) == only_names(shipped(dataset))


@pytest.mark.parametrize("dataset", ["pets", "food101", "cifar100"])
def test_keys_that_are_the_names_with_underscores(dataset: str) -> None:
    for key, name in by_key(shipped(dataset)).items():
        assert key == name.replace(" ", "_")


def test_countries_are_named_by_their_codes() -> None:
    names = by_key(shipped("country211"))
    assert all(len(code) == 2 and code.isupper() for code in names)
    told = {"AD": "Andorra", "CD": "DR Congo", "CH": "Switzerland", "GS": "South Georgia and South Sandwich Is."}
    told |= {"KP": "North Korea", "KR": "South Korea", "MF": "Saint-Martin", "SX": "Sint Maarten", "WS": "Samoa"}
    told |= {"XK": "Kosovo", "ZW": "Zimbabwe"}
    assert {code: names[code] for code in told} == told


ZONES = Path("/usr/share/zoneinfo/iso3166.tab")


@pytest.mark.skipif(not ZONES.is_file(), reason="the time zone database's list of country codes is not installed")
def test_country_codes_agree_with_the_time_zone_database() -> None:
    lines = [line.split("\t") for line in ZONES.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    official = dict(lines)
    names = by_key(shipped("country211"))
    assert set(names) - set(official) == {"XK"}
    same = sum(names[code] == official[code] for code in names if code != "XK")
    assert same > 170  # the others are spelt otherwise ("Britain (UK)")


def test_other_readings_of_the_labels() -> None:
    assert by_key(shipped("kitti"))["above_20"].endswith("in the distance.")
    assert by_key(shipped("kitti"))["below_8"].endswith("on my left or right side.")
    assert by_key(shipped("clevr")) == {f"count_{n}": str(n) for n in (10, 3, 4, 5, 6, 7, 8, 9)}
    assert by_key(shipped("pcam"))["tumor"].endswith("tumor tissue")
    assert by_key(shipped("caltech101"))["Faces_easy"] == "centered face"
    assert by_key(shipped("eurosat"))["HerbaceousVegetation"] == "brushland or shrubland"
    assert by_key(shipped("flowers"))["16"] == "globe flower"


@pytest.mark.real_data
@pytest.mark.parametrize(("dataset", "folder"), [("dtd", "dtd_10of47/images"), ("imagenet", "imagenet_val_25")])
def test_keys_are_the_real_folders(dataset: str, folder: str, real_data: Path) -> None:
    there = [entry.name for entry in (real_data / "zeroshot" / folder).iterdir() if entry.is_dir()]
    assert len(there) >= 10
    assert set(there) <= set(shipped(dataset).keys)


# ---- prompts


def test_prompts_are_every_name_in_every_template() -> None:
    found = Vocabulary("x", ("k",), (("cat", "{c} tabby"),), ("a {}.", "the {c} {}"), "here")
    assert found.prompts(0) == ["a cat.", "the {c} cat", "a {c} tabby.", "the {c} {c} tabby"]


# ---- the file's form

CHARACTERS = st.characters(exclude_categories=("Cc", "Cs"))
WORDS = st.text(CHARACTERS, min_size=1, max_size=8).filter(lambda word: word.strip())
PLAIN = WORDS.map(lambda word: word.replace("{}", ""))
VOCABULARIES = st.dictionaries(WORDS, st.lists(WORDS, min_size=1, max_size=3), min_size=1, max_size=5).flatmap(
    lambda classes: st.builds(
        Vocabulary,
        dataset=st.just("toy"),
        keys=st.just(tuple(classes)),
        names=st.just(tuple(map(tuple, classes.values()))),
        templates=st.lists(st.builds("{}{{}}{}".format, PLAIN, PLAIN), min_size=1, max_size=3)
        .map(tuple)
        .filter(lambda templates: all(template.count("{}") == 1 for template in templates)),
        source=st.text(CHARACTERS),
    )
)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sample")
    (root / SAMPLE_MARKER).write_text("{}")
    return root


@settings(max_examples=30)  # each is written durably
@given(vocabulary=VOCABULARIES)
def test_what_is_written_is_read(sample: Path, vocabulary: Vocabulary) -> None:
    write_vocabulary(sample / "toy" / "vocabulary.json", vocabulary)
    assert vocabulary_of(sample, "toy") == vocabulary


@pytest.mark.parametrize("dataset", ["fer2013", "kitti", "country211"])
def test_shipped_files_are_in_the_form_that_is_written(dataset: str, tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "again.json", shipped(dataset))
    file = Path(module.__file__).parent / "vocabularies" / f"{dataset}.json"
    assert (tmp_path / "again.json").read_text(encoding="utf-8") == file.read_text(encoding="utf-8")


def test_generated_data_use_their_own_names_and_real_data_the_shipped(sample: Path, tmp_path: Path) -> None:
    assert vocabulary_of(tmp_path, "mnist") is shipped("mnist")
    with pytest.raises(DataError, match=r"mnist: the generated data have no mnist; name a --data-root"):
        vocabulary_of(sample, "mnist")
    (sample / "mnist").mkdir()
    with pytest.raises(DataError, match=r"mnist/vocabulary.json: cannot be read \(No such file.*`bench data sample`"):
        vocabulary_of(sample, "mnist")
    write_vocabulary(sample / "mnist" / "vocabulary.json", replace(shipped("mnist"), keys=tuple("abcdefghij")))
    assert vocabulary_of(sample, "mnist").keys[0] == "a"
    (sample / "mnist" / "vocabulary.json").write_text('{"source": "", "templates": ["{}"]}')
    with pytest.raises(DataError, match=r'lacks "classes"; write the generated data anew'):
        vocabulary_of(sample, "mnist")


def test_digests_tell_lists_apart() -> None:
    def digest(*names: tuple[str, ...]) -> str:
        return Vocabulary("x", tuple("ab"[: len(names)]), names, ("{}",), "").names_digest

    different = (digest(("a", "b")), digest(("a",), ("b",)), digest(("a b",)), digest(("b",), ("a",)))
    assert len(set(different)) == 4


# ---- a user's own

ANSWER = {"classes": {"positive": "glowing", "negative": ["scathing", "bad"]}, "templates": ["{} words"]}


def given_file(folder: Path, content: Any) -> Path:
    file = folder / "prompts.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def test_a_users_file_replaces_names_in_the_order_of_the_labels(tmp_path: Path) -> None:
    file = given_file(tmp_path, ANSWER)
    mine = with_prompts(shipped("sst2"), file)
    assert mine.keys == ("negative", "positive")
    assert mine.names == (("scathing", "bad"), ("glowing",))
    assert mine.prompts(0) == ["scathing words", "bad words"]
    assert mine.source == str(file)
    assert mine.names_digest != shipped("sst2").names_digest


@pytest.mark.parametrize(("field", "kept"), [("classes", "templates"), ("templates", "names")])
def test_a_users_file_may_leave_one_half(field: str, kept: str, tmp_path: Path) -> None:
    mine = with_prompts(shipped("sst2"), given_file(tmp_path, {field: ANSWER[field], "source": "a blog"}))
    assert getattr(mine, kept) == getattr(shipped("sst2"), kept)
    assert mine != shipped("sst2")
    assert mine.source == "a blog"


BAD: Mapping[str, Any] = {
    "not a JSON file": "a photo of a {}.",
    "holds a list, not an object": [1],
    "holds a number, not an object": 7,
    'holds neither "templates" nor "classes"': {"source": "me"},
    'unknown field "prompts"; known are "source", "templates", "classes"': {"prompts": ["{}"]},
    '"source" must be a text': {"source": 1, "templates": ["{}"]},
    '"templates" must be a list of at least one text': {"templates": "a {}"},
    '"templates" must be a list': {"templates": []},
    'the template "a photo" must be a text with exactly one {} for the name': {"templates": ["{}", "a photo"]},
    'the template "a {c}." must': {"templates": ["a {c}."]},
    'the template "{} or {}" must': {"templates": ["{} or {}"]},
    "the template 3 must": {"templates": [3]},
    'the template "{}\\n" holds a line break': {"templates": ["{}\n"]},
    '"classes" must be an object': {"classes": ["bad", "good"]},
    'class "negative" must have a name that is not empty': {"classes": {"negative": " ", "positive": "x"}},
    'class "positive" must have a name': {"classes": {"negative": "y", "positive": []}},
    'class "positive" must have a name that': {"classes": {"negative": "y", "positive": ["x", 1]}},
    'the name of class "positive" "a\\tb" holds a line break': {"classes": {"negative": "y", "positive": "a\tb"}},
    '"classes" lacks "positive" of sst2 (its 2 keys begin with "negative", "positive")': {"classes": {"negative": "y"}},
    '"neutral" is no class of sst2': {"classes": {"negative": "y", "positive": "x", "neutral": "z"}},
    '"negative" occurs twice': '{"classes": {"negative": "y", "negative": "z", "positive": "x"}}',
}


@pytest.mark.parametrize("reason", BAD)
def test_a_users_mistake_is_one_line_that_names_it(reason: str, tmp_path: Path) -> None:
    file = given_file(tmp_path, BAD[reason])
    with pytest.raises(OptionError) as raised:
        with_prompts(shipped("sst2"), file)
    message = str(raised.value)
    assert message.startswith(f"{file}: {reason}")
    assert message.endswith("give a corrected file to --prompts (docs/prompts.md shows the form)")
    assert "\n" not in message


def test_a_missing_file_a_folder_and_other_encodings_are_told(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes('{"templates": ["é {}"]}'.encode("latin-1"))
    for name, reason in (("none.json", "No such file"), (".", "Is a directory"), ("latin.json", "not a JSON file")):
        with pytest.raises(OptionError, match=reason):
            with_prompts(shipped("sst2"), tmp_path / name)


# ---- light to read


def test_reading_names_loads_no_heavy_library() -> None:
    code = "import sys; from benchmarks.data.vocabulary import shipped; shipped('imagenet'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pandas", "pydantic", "open_clip"} & set(done.stdout.split())
