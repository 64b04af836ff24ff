"""Turn a checkpoint into the cells of the DetailCLIP paper's tables (the ``bench`` command)."""

__version__ = "0.2.0"
