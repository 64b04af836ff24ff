"""The errors a user can cause: one clear line that names the thing and the remedy, exit code 2 at the command line.

Anything else that escapes is a bug of ours and keeps its traceback.
"""


class BenchError(Exception):
    """Base of every error whose cause lies in what the user gave: a file, a folder, an option, the installation."""


class CheckpointError(BenchError):
    """A checkpoint file is missing, damaged, unsafe, of an unknown layout, or does not fit what was asked of it."""


class DataError(BenchError):
    """A data set is missing, incomplete, in the wrong layout, or holds a file that cannot be read."""


class OptionError(BenchError):
    """An option or override is unknown, or its value is out of range."""


class InstallError(BenchError):
    """The installation itself is broken: a system library is missing, or two packages overwrite each other."""


class RecordError(BenchError):
    """A record or a results folder cannot be read or does not follow the schema."""
