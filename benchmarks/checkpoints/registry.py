"""The published checkpoints: where each lies, what is known of its content, which row of the paper it stands for.

Nothing here imports torch: listing them must answer at once. How they are fetched and recognised is in
:mod:`benchmarks.checkpoints.published`.
"""

from dataclasses import dataclass
from typing import Literal

State = Literal["public", "by hand", "no public weights", "layout unknown"]
"""``public``: fetched when it is asked for. ``by hand``: a person must fetch it. The others cannot be had."""


@dataclass(frozen=True)
class Entry:
    """One published file, or one that the paper evaluates and nobody has published.

    Attributes:
        name: what users call it, ``METHOD-ARCHITECTURE-EPOCHS``.
        family: name of the family that the weights come from.
        state: how it can be had.
        source: where its publishers speak of it.
        row: the row of the paper's tables that it stands for, ``METHOD[@EPOCHS]``; None: of none.
        address: of the file itself, where it is public.
        sha256: of the file, where its publishers tell it; 64 hexadecimal digits or the first ones.
        md5: the same of its md5.
        how: what a person must do, or why it cannot be had; in one line, empty for a public file.
        note: what a reader of results must know of it, for example where it differs from the paper's row.
    """

    name: str
    family: str
    state: State
    source: str
    row: str | None = None
    address: str | None = None
    sha256: str | None = None
    md5: str | None = None
    how: str = ""
    note: str = ""

    @property
    def filename(self) -> str:
        """The file's name in the cache folder (and on a mirror): this entry's name with the usual suffix."""
        published = self.address or ".pt"
        return self.name + published[published.rindex(".") :]


_SLIP = "https://github.com/facebookresearch/SLIP"
_SIZES = {"small": "vits16", "base": "vitb16", "large": "vitl16"}
_SLIP_FAMILIES = {"clip": "slip-clip", "simclr": "slip-simclr", "slip": "slip"}


def _slip(method: str, size: str, epochs: int, data: str = "") -> Entry:
    """A file of the SLIP repository, trained on YFCC15M or the ``data`` that its name tells."""
    in_table = size == "base" and not data and (method, epochs) in {("clip", 25), ("slip", 25), ("slip", 50)}
    middle = f"-{data}" if data else "-yfcc15m" if method == "clip" else ""
    return Entry(
        name=f"{method}-{_SIZES[size]}{middle}-{epochs}e",
        family=_SLIP_FAMILIES[method],
        state="public",
        source=_SLIP,
        row=f"{method.upper()}@{epochs}" if in_table else None,
        address=f"https://dl.fbaipublicfiles.com/slip/{method}_{size}{'_' + data if data else ''}_{epochs}ep.pt",
    )


def _openai(name: str, file: str, sha256: str, row: str | None = None) -> Entry:
    """A model of OpenAI's, whose address holds its sha256."""
    return Entry(
        name=name,
        family="openai-clip",
        state="public",
        source="https://github.com/openai/CLIP",
        row=row,
        address=f"https://openaipublic.azureedge.net/clip/models/{sha256}/{file}",
        sha256=sha256,
    )


def _deit(name: str, family: str, file: str, row: str | None = None) -> Entry:
    """A model of DeiT's, whose file name ends in the first digits of its sha256 (as torch.hub checks it)."""
    return Entry(
        name=name,
        family=family,
        state="public",
        source="https://github.com/facebookresearch/deit",
        row=row,
        address=f"https://dl.fbaipublicfiles.com/deit/{file}",
        sha256=file.removesuffix(".pth").rpartition("-")[2],
    )


def _unpublished(name: str, family: str, row: str, source: str, how: str) -> Entry:
    """A checkpoint that the paper evaluates and that nobody has published."""
    return Entry(name=name, family=family, state="no public weights", source=source, row=row, how=how)


_IBOT = "https://lf3-nlp-opensource.bytetos.com/obj/nlp-opensource/archive/2022/ibot"
_ACLIP = "https://github.com/microsoft/A-CLIP"
_DETAILCLIP = "https://github.com/KishoreP1/DetailCLIP"
_ATTMASK = "https://github.com/gkakogeorgiou/attmask"
_TRAIN = "train it with `bench pretrain` and pass its checkpoint with --row"

ENTRIES: tuple[Entry, ...] = (
    _deit("deit-vitb16-300e", "deit", "deit_base_patch16_224-b5f2ef4d.pth", row="DeiT@300"),
    _deit("deit-vits16-300e", "deit", "deit_small_patch16_224-cd65a155.pth"),
    _deit("deit-distilled-vitb16-300e", "deit-distilled", "deit_base_distilled_patch16_224-df68dfff.pth"),
    Entry(
        name="mae-vitb16",
        family="mae",
        state="public",
        source="https://github.com/facebookresearch/mae",
        row="MAE@800",
        address="https://dl.fbaipublicfiles.com/mae/pretrain/mae_pretrain_vit_base.pth",
        md5="8cad7c",
        note="the paper's row prints 800 epochs; the results of MAE's own paper are of 1600, and this is said to be "
        "that file",
    ),
    Entry(
        name="dino-vitb16",
        family="dino",
        state="public",
        source="https://github.com/facebookresearch/dino",
        row="DINO@800",
        address="https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
        note="the paper's row prints 800 epochs, which DINO's own paper has for ViT-S; this file, ViT-B, is said to be "
        "of 400",
    ),
    Entry(
        name="ibot-vitb16",
        family="ibot",
        state="public",
        source="https://github.com/bytedance/ibot",
        row="iBOT@300",
        address=f"{_IBOT}/vitb_16/checkpoint_teacher.pth",
        note="the paper's row prints 300 epochs of two views; this file is said to be of 400 with 12 views",
    ),
    Entry(
        name="ibot-vitb16-full",
        family="ibot",
        state="public",
        source="https://github.com/bytedance/ibot",
        address=f"{_IBOT}/vitb_16/checkpoint.pth",
        note="the training checkpoint with teacher, student and heads, of which ibot-vitb16 is the teacher",
    ),
    Entry(
        name="ibot-vitb16-random-mask",
        family="ibot",
        state="public",
        source="https://github.com/bytedance/ibot",
        address=f"{_IBOT}/vitb_16_rand_mask/checkpoint_teacher.pth",
    ),
    _unpublished(
        "attmask-vitb16-300e", "attmask", "AttMask@300", _ATTMASK, f"its publishers offer ViT-S/16 only ({_ATTMASK})"
    ),
    Entry(
        name="attmask-vits16-300e",
        family="attmask",
        state="by hand",
        source=_ATTMASK,
        how=f"take the backbone or the full checkpoint of 300 epochs from the table at {_ATTMASK} (Google Drive)",
    ),
    _openai(
        "clip-vitb16-400m",
        "ViT-B-16.pt",
        "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
        row="CLIP",
    ),
    _openai(
        "clip-vitb32-400m",
        "ViT-B-32.pt",
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    ),
    _openai(
        "clip-vitl14-400m",
        "ViT-L-14.pt",
        "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    ),
    _openai(
        "clip-vitl14-336-400m",
        "ViT-L-14-336px.pt",
        "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
    ),
    *(_slip(method, size, 25) for size in _SIZES for method in ("clip", "simclr", "slip")),
    *(_slip("slip", size, epochs) for size in _SIZES for epochs in (50, 100)),
    *(
        _slip(method, "base", epochs, data)
        for data, epochs in (("cc3m", 40), ("cc12m", 35))
        for method in ("clip", "slip")
    ),
    _unpublished(
        "clip-vitb16-yfcc15m-50e",
        "slip-clip",
        "CLIP@50",
        _ACLIP,
        f"A-CLIP's authors trained it for their comparison and published numbers only; {_TRAIN} CLIP@50",
    ),
    Entry(
        name="maskclip-vitb16-25e",
        family="maskclip",
        state="layout unknown",
        source="https://github.com/LightDXY/MaskCLIP",
        row="MaskCLIP@25",
        how="its repository (https://github.com/LightDXY/MaskCLIP) says that model and code will come, and nothing has "
        "come; two other projects bear the same name",
    ),
    *(
        _unpublished(
            f"aclip-vitb16-{epochs}e",
            "aclip",
            f"A-CLIP@{epochs}",
            _ACLIP,
            f"its repository ({_ACLIP}) offers code and no weights; checkpoints of that code are read: pass one with "
            f"--row A-CLIP@{epochs}",
        )
        for epochs in (25, 50)
    ),
    _unpublished(
        "detailclip-vitb16-25e",
        "detailclip",
        "DetailCLIP@25",
        _DETAILCLIP,
        f"only the one of 50 epochs is published; {_TRAIN} DetailCLIP@25",
    ),
    Entry(
        name="detailclip-vitb16-50e",
        family="detailclip",
        state="by hand",
        source=_DETAILCLIP,
        row="DetailCLIP@50",
        how=f"open the OneDrive share that {_DETAILCLIP} links to in a browser (about 2.5 GB)",
    ),
    *(
        _unpublished(
            f"detailclip-vitb16-25e-alphas-{alphas.replace(',', '-')}",
            "detailclip",
            f"DetailCLIP({alphas})@25",
            _DETAILCLIP,
            f"a run of the ablation, not published; {_TRAIN} 'DetailCLIP({alphas})@25'",
        )
        for alphas in ("1,1,0", "1,1,2", "0.5,0.5,0.5", "0,0,1")
    ),
)


def find(name: str) -> Entry | None:
    """The entry of this name, or None."""
    return next((entry for entry in ENTRIES if entry.name == name), None)


def tables_of(entry: Entry) -> tuple[int, ...]:
    """Numbers of the paper's tables that have the entry's row."""
    from benchmarks.tables.layouts import LAYOUTS, paper_rows  # needs more time to import than the names above

    found = []
    for number, layout in LAYOUTS.items():
        rows = {layout.row_name.format(**row).removesuffix("@") for row in paper_rows(number)}
        if entry.row and layout.aliases.get(entry.row, entry.row) in rows:
            found.append(number)
    return tuple(found)
