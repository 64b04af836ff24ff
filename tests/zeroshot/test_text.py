"""Encoding of texts: the same embeddings as the long way, each thing done once, and classifiers by SLIP's rule."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip import get_tokenizer
from torch import Tensor

from benchmarks.checkpoints import ensure_tiny, load_checkpoint
from benchmarks.data.vocabulary import Vocabulary, shipped
from benchmarks.errors import CheckpointError
from benchmarks.zeroshot.text import all_prompts, class_weights, encode_texts, overlong, tokenise
from tests.zeroshot.text_towers import tiny_text_tower

TOKENIZER = get_tokenizer("ViT-B-16")
LONG = "one two three four five six seven eight nine ten " * 9
PROMPTS = ["a photo of a cat.", "a photo of a catfish.", "a photo of the dog.", "cat", "", LONG, LONG + "more", "cat"]


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_text_tower()


@torch.no_grad()
def the_long_way(model: Any, texts: list[str]) -> Tensor:
    """open_clip's own forward over all positions of the context."""
    return torch.cat([model.encode_text(TOKENIZER([text], model.context_length)) for text in texts])


# ---- equal to the long way


@settings(max_examples=40)
@given(
    texts=st.lists(
        st.one_of(
            st.text(max_size=30),
            st.builds("a photo of {} {}.".format, st.sampled_from(["a", "the", "my"]), st.text("abc ", max_size=5)),
            st.sampled_from([*PROMPTS, "an <end_of_text> inside", "<start_of_text>", "two\nlines", "&amp; ©"]),
        ),
        min_size=1,
        max_size=12,
    ),
    limit=st.sampled_from([1, 20, 1024]),
)
def test_embeddings_equal_those_of_all_positions(model: Any, texts: list[str], limit: int) -> None:
    found = encode_texts(model, texts, "cpu", batch_tokens=limit)
    assert torch.allclose(found, the_long_way(model, texts), atol=1e-5)


@pytest.mark.parametrize("context", [2, 3, 12])
def test_other_context_lengths(context: int) -> None:
    model = tiny_text_tower(context)
    assert torch.allclose(encode_texts(model, PROMPTS, "cpu"), the_long_way(model, PROMPTS), atol=1e-5)


def test_a_loaded_checkpoint() -> None:
    model = load_checkpoint(ensure_tiny()).model
    assert torch.allclose(encode_texts(model, PROMPTS, "cpu"), the_long_way(model, PROMPTS), atol=1e-5)


@pytest.mark.slow
def test_the_full_size_tower_with_shared_templates() -> None:
    import open_clip

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-16").eval()
    names = open_clip.IMAGENET_CLASSNAMES[::250]
    texts = [template(name) for name in names for template in open_clip.SIMPLE_IMAGENET_TEMPLATES] + [LONG]
    assert (encode_texts(model, texts, "cpu") - the_long_way(model, texts)).abs().max() <= 1e-5


def test_the_embeddings_are_plain_tensors(model: Any) -> None:
    found = encode_texts(model, ["cat"], "cpu")
    assert (found.dtype, found.device.type, found.requires_grad) == (torch.float32, "cpu", False)
    assert not found.is_inference()
    assert found.norm() != pytest.approx(1)
    assert encode_texts(model, [], "cpu").shape == (0, 24)


def test_different_texts_differ(model: Any) -> None:
    found = encode_texts(model, ["a photo of a cat.", "a photo of a dog.", "a photo of a cat"], "cpu")
    assert torch.cdist(found, found)[[0, 0, 1], [1, 2, 2]].min() > 1e-2


# ---- nothing twice


@pytest.fixture
def embedded(model: Any) -> Iterator[list[int]]:
    """How many tokens enter the tower, call by call."""
    sizes: list[int] = []
    handle = model.token_embedding.register_forward_hook(lambda _, inputs, __: sizes.append(inputs[0].numel()))
    yield sizes
    handle.remove()


def test_equal_texts_and_equal_beginnings_enter_once(model: Any, embedded: list[int]) -> None:
    encode_texts(model, ["red cat", "red  CAT", "red dog", "red"] * 5, "cpu")
    assert embedded == [1 + 1 + 3 + 2]  # start; red; cat, dog, end; end, end


def test_templates_enter_once_for_all_classes(model: Any, embedded: list[int]) -> None:
    names = ("cat", "dog", "fish", "bird")
    encode_texts(model, [f"a photo of the large {name}." for name in names], "cpu")
    assert embedded == [6 + len(names) * 3]


@pytest.mark.parametrize("limit", [8, 10, 30])
def test_batches_stay_below_the_limit(limit: int, model: Any, embedded: list[int]) -> None:
    texts = [f"{first} {second}" for first in "abcdef" for second in "ghij"]
    seen: list[tuple[int, int]] = []
    found = encode_texts(model, texts, "cpu", limit, lambda done, of: seen.append((done, of)))
    assert max(embedded) <= limit
    assert len(embedded) > 1
    assert len(seen) == len(embedded)
    assert seen[-1] == (24, 24)
    assert torch.allclose(found, encode_texts(model, texts, "cpu"), atol=1e-5)


def test_a_text_longer_than_the_limit_is_a_batch_of_its_own(model: Any, embedded: list[int]) -> None:
    encode_texts(model, [LONG, "cat"], "cpu", batch_tokens=5)
    assert embedded == [3, 77]


def test_equal_texts_are_tokenised_once(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    plain = type(TOKENIZER).encode

    def encode(self: Any, text: str) -> Any:
        calls.append(text)
        return plain(self, text)

    monkeypatch.setattr(type(TOKENIZER), "encode", encode)
    texts = ["a text of this test alone", "and another one"] * 3
    encode_texts(model, texts, "cpu")
    assert overlong(texts) == []
    assert calls == texts[:2]


# ---- tokens


@pytest.mark.parametrize("context", [5, 77])
@pytest.mark.parametrize("text", PROMPTS)
def test_tokens_are_the_tokenizers(text: str, context: int) -> None:
    row = TOKENIZER([text], context)[0].tolist()
    tokens = tokenise(text, context)
    assert list(tokens) == row[: row.index(49407) + 1]
    assert len(tokens) <= context


def test_texts_that_are_cut_are_told() -> None:
    fitting = " ".join(["cat"] * 75)
    assert overlong(["cat", LONG, fitting, fitting + " cat", LONG]) == [1, 3, 4]
    assert overlong(["a b c", "a b"], context=4) == [0]
    assert tokenise(LONG)[-1] == 49407


def test_another_vocabulary_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"knows 512 tokens, but CLIP's tokenizer has 49,408"):
        encode_texts(tiny_text_tower(vocabulary=512), ["cat"], "cpu")


# ---- classifiers


def test_prompts_are_laid_out_class_after_class() -> None:
    vocabulary = Vocabulary("toy", ("k", "l"), (("cat", "tabby"), ("dog",)), ("a {}", "the {}"), "")
    texts, owners = all_prompts(vocabulary)
    assert texts == ["a cat", "the cat", "a tabby", "the tabby", "a dog", "the dog"]
    assert owners.tolist() == [0, 0, 0, 0, 1, 1]
    assert len(all_prompts(shipped("imagenet"))[0]) == 7000


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5), seed=st.integers(0, 99), shuffled=st.booleans())
def test_weights_equal_a_plain_loop(sizes: list[int], seed: int, shuffled: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(sum(sizes), 6, generator=generator) * 10
    owners = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    if shuffled:
        owners = owners[torch.randperm(len(owners), generator=generator)]
    plain = []
    for label in range(len(sizes)):
        rows = [row / row.norm() for row, owner in zip(embeddings, owners, strict=True) if owner == label]
        mean = torch.stack(rows).mean(dim=0)
        plain.append(mean / mean.norm())
    assert torch.allclose(class_weights(embeddings, owners), torch.stack(plain), atol=1e-6)


def test_the_classifier_is_that_of_clip_benchmark(model: Any) -> None:
    from clip_benchmark.metrics.zeroshot_classification import zero_shot_classifier

    vocabulary = shipped("stl10")
    texts, owners = all_prompts(vocabulary)
    names = [name for (name,) in vocabulary.names]
    templates = [template.replace("{}", "{c}") for template in vocabulary.templates]
    theirs = zero_shot_classifier(model, TOKENIZER, names, templates, "cpu", amp=False)
    assert torch.allclose(class_weights(encode_texts(model, texts, "cpu"), owners), theirs.T, atol=1e-5)


def test_each_prompt_weighs_the_same_whatever_its_length() -> None:
    embeddings = torch.tensor([[100.0, 0.0], [0.0, 0.01]])
    assert torch.allclose(class_weights(embeddings, torch.tensor([0, 0])), F.normalize(torch.ones(1, 2), dim=1))
