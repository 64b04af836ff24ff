"""A complete, valid record for tests, any field of which can be changed."""

from typing import Any

import pandas as pd

from benchmarks.records import Record, fingerprint

PROTOCOL = {"data": "ade20k", "split": "validation", "crop": 512, "iterations": 160_000, "lr": 8e-5}

FIELDS: dict[str, Any] = {
    "run_id": "ade20k-upernet--slip--ema--seed0--full--0123456789ab",
    "benchmark": "ade20k-upernet",
    "status": "full",
    "run_state": "uninterrupted",
    "checkpoint": {
        "name": "slip_base_25ep",
        "path": "/weights/slip_base_25ep.pt",
        "sha256": "ab" * 32,
        "family": "slip",
        "load_report": {"matched": 200, "missing": [], "reshaped": {"pos_embed": [[1, 197], [1, 1025]]}},
        "row": "SLIP@25",
        "training": {"method": "slip", "epochs": 25, "images": 14_689_580, "views": 2},
    },
    "protocol": PROTOCOL,
    "protocol_fingerprint": fingerprint(PROTOCOL),
    "model_protocol": {"tower": "online", "image_heads": 12},
    "metrics": {"mIoU": {"value": 46.31, "low": 45.1, "high": 47.52, "n": 2000}},
    "per_class": {"IoU": {"wall": 78.25, "flag": None}},
    "counts": {"official": 2000, "expected": 2000, "scored": 2000},
    "data": {"name": "ade20k", "split": "validation", "fingerprint": "d" * 16},
    "seed": 0,
    "norm_layer": "BN",
    "operators": "torchvision",
    "precision": "fp32",
    "environment": {
        "python": "3.11.7",
        "platform": "Linux",
        "packages": {"torch": "2.14.1"},
        "device": "cpu",
        "commit": "c" * 40,
        "dirty": False,
        "threads": 2,
    },
    "command": ["bench", "run", "ade20k-upernet"],
    "started": "2026-11-22T08:00:00+00:00",
    "wall_seconds": 60.5,
    "peak_memory": 2**31,
}


def make_record(**changes: Any) -> Record:
    """The example with some fields replaced; a dict given for a part changes only its keys.

    A changed protocol gets its own fingerprint, unless one is given.
    """
    fields: dict[str, Any] = {}
    for name, value in (FIELDS | changes).items():
        old = FIELDS.get(name)
        merged = isinstance(old, dict) and isinstance(value, dict) and name not in {"metrics", "per_class"}
        fields[name] = {**old, **value} if merged and isinstance(old, dict) else value
    if "protocol_fingerprint" not in changes:
        fields["protocol_fingerprint"] = fingerprint(fields["protocol"])
    return Record.model_validate(fields)


def make_samples(count: int) -> pd.DataFrame:
    """Samples with unique ids, as many as asked for."""
    return pd.DataFrame({"sample_id": [f"image_{index:05d}" for index in range(count)]})


def small_record(**changes: Any) -> Record:
    """A record of three images on a folder that holds only these (status ``partial``)."""
    return make_record(**({"status": "partial", "counts": {"expected": 3, "scored": 3}} | changes))
