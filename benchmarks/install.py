"""Whether this installation can do dense work: the known ways in which it breaks, each told in one line.

All of them otherwise end in a traceback of another library, far from the cause.
"""

import importlib.util
import re
import sys
from importlib.metadata import PackageNotFoundError, version

from benchmarks.errors import InstallError

MMCV_VERSION = "2.1.0"  # the last that MMDetection 3.3 and MMSegmentation 1.2 accept; see pyproject.toml

_LIBRARY = re.compile(r"(?P<library>lib[^\s:]+\.so[^\s:]*): cannot open shared object file")


def check_installation() -> None:
    """Find the known faults of an installation before MMSegmentation or MMDetection stumble over them.

    Imports ``cv2`` (a quarter of a second), which dense work needs anyway; nothing of torch.

    Raises:
        InstallError: mmcv and mmcv-lite, which share a folder, are installed in different versions;
            ``pkg_resources`` is missing; OpenCV is missing, or a system library that it links.
    """
    _check_mmcv()
    _check_pkg_resources()
    _check_opencv()


def _check_mmcv() -> None:
    """mmcv and mmcv-lite write into one folder: the later leaves a mixture, unless both are one version."""
    full, lite = _version("mmcv"), _version("mmcv-lite")
    if full is not None and lite is not None and full != lite:
        raise InstallError(
            f"mmcv {full} and mmcv-lite {lite} are both installed and overwrite each other's files; repair: "
            f"pip uninstall -y mmcv mmcv-lite && pip install mmcv-lite=={MMCV_VERSION} "
            f"(then, for the compiled operators, also: pip install mmcv=={MMCV_VERSION})"
        )


def _version(distribution: str) -> str | None:
    """The installed version of a distribution, None where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _check_pkg_resources() -> None:
    """MMEngine and MMCV import ``pkg_resources``, which was part of setuptools up to version 81."""
    if importlib.util.find_spec("pkg_resources") is None:
        raise InstallError(
            "pkg_resources, which mmengine and mmcv import, is missing: setuptools 82 has dropped it; "
            "repair: pip install 'setuptools>=77,<82'"
        )


def _check_opencv() -> None:
    """OpenCV's desktop wheel links libraries of the system's display stack, which servers often lack."""
    headless = "pip install --force-reinstall --no-deps opencv-python-headless"
    try:
        import cv2
    except ImportError as error:
        missing = _LIBRARY.search(str(error))
        if missing is not None:
            raise InstallError(
                f"OpenCV needs {missing['library']}, which this system lacks; repair: "
                "apt-get install libgl1 libglib2.0-0 (Debian, Ubuntu), or without a system package: "
                f"pip uninstall -y opencv-python && {headless}"
            ) from error
        if error.name == "cv2":
            raise InstallError(f"OpenCV (cv2) is not installed; repair: {headless}") from error
        raise
    # Uninstalling one of two OpenCV wheels takes the shared files and leaves a folder that imports empty.
    if not hasattr(cv2, "imread"):
        raise InstallError(f"OpenCV (cv2) is an empty folder, left by an uninstallation; repair: {headless}")


def main() -> None:
    """``python -m benchmarks.install``: silent when all is well, else one line and exit code 2."""
    try:
        check_installation()
    except InstallError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
