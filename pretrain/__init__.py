"""Makes checkpoints: DetailCLIP and the methods it is compared with, on one training core."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pretrain.methods.detailclip import DetailCLIP

__all__ = ["DetailCLIP"]


def __getattr__(name: str) -> Any:
    """Import the model when it is first asked for: it brings torch, timm and MMEngine."""
    if name == "DetailCLIP":
        from pretrain.methods.detailclip import DetailCLIP

        return DetailCLIP
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
