"""Each known fault of an installation ends in one line that names it and its repair."""

import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.errors import InstallError
from benchmarks.install import MMCV_VERSION, check_installation


def install_fake(folder: Path, name: str, version: str) -> None:
    """Metadata of a distribution, as pip leaves it beside the package."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def fault() -> str:
    """The one line that the check ends in."""
    with pytest.raises(InstallError) as raised:
        check_installation()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_this_installation_is_sound() -> None:
    check_installation()


def test_mmcv_and_its_lite_form_in_two_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``pip install mmcv`` over mmcv-lite overwrites half of its files: nothing after it can be trusted."""
    install_fake(tmp_path, "mmcv", "2.2.0")
    install_fake(tmp_path, "mmcv-lite", "2.1.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    message = fault()
    assert "mmcv 2.2.0 and mmcv-lite 2.1.0 are both installed" in message
    assert f"pip uninstall -y mmcv mmcv-lite && pip install mmcv-lite=={MMCV_VERSION}" in message


def test_both_forms_of_mmcv_in_one_version_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is how the compiled operators are added: the shared files are the same."""
    install_fake(tmp_path, "mmcv", MMCV_VERSION)
    install_fake(tmp_path, "mmcv-lite", MMCV_VERSION)
    monkeypatch.syspath_prepend(str(tmp_path))
    check_installation()


def test_the_repairs_install_what_the_project_pins() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    dependencies = pyproject["project"]["dependencies"]
    assert f"mmcv-lite=={MMCV_VERSION}" in dependencies
    assert "setuptools>=77,<82" in dependencies


def test_setuptools_without_pkg_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkg_resources", None)
    message = fault()
    assert message.startswith("pkg_resources")
    assert "pip install 'setuptools>=77,<82'" in message


def test_opencv_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    message = fault()
    assert message.startswith("OpenCV (cv2) is not installed")
    assert "pip install --force-reinstall --no-deps opencv-python-headless" in message


def test_the_empty_folder_of_a_half_removed_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", ModuleType("cv2"))
    assert "empty folder" in fault()


def fake_opencv(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Let ``import cv2`` run ``source`` until the end of the test."""
    (folder / "cv2.py").write_text(source)
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.parametrize("library", ["libGL.so.1", "libgthread-2.0.so.0", "libglib-2.0.so.0"])
def test_a_system_library_of_opencv_is_missing(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{library}: cannot open shared object file: No such file or directory"
    fake_opencv(tmp_path, monkeypatch, f"raise ImportError({text!r})")
    message = fault()
    assert message.startswith(f"OpenCV needs {library},")
    assert "apt-get install libgl1 libglib2.0-0" in message
    assert "pip uninstall -y opencv-python && pip install" in message


def test_the_system_loader_words_it_as_expected(tmp_path: Path) -> None:
    """A fresh process, and the loader's own message about a library that does not exist."""
    (tmp_path / "cv2.py").write_text(
        "import ctypes\n"
        "try:\n    ctypes.CDLL('libGL-of-nowhere.so.1')\n"
        "except OSError as error:\n    raise ImportError(str(error))\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from benchmarks.install import check_installation\ncheck_installation()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "InstallError: OpenCV needs libGL-of-nowhere.so.1, which this system lacks" in done.stderr


def test_another_fault_in_opencv_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is known is explained: numpy missing inside OpenCV is not a missing OpenCV."""
    fake_opencv(tmp_path, monkeypatch, "import a_module_that_opencv_needs")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_opencv_needs"):
        check_installation()
