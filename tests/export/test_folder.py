"""Folder: put in its place whole, over nothing but an earlier one of its kind."""

from pathlib import Path

import pytest

from contract.bundle_folder import replace_whole
from export.errors import FolderRefused
from export.folder import require_replaceable

FILES = {"mark.json": b"{}", "1_Part/weights": b"\x00\x01", "readme": b"new"}


def put(target: Path, files: dict[str, bytes] = FILES) -> list[str]:
    """Write the files; the check lists what it was shown."""

    def names(folder: Path) -> list[str]:
        return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())

    require_replaceable(target, files, mark="mark.json")
    return replace_whole(target, files, check=names)


def content(folder: Path) -> dict[str, bytes]:
    """Read every file."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_file_is_written_and_the_answer_of_the_check_returned(tmp_path: Path) -> None:
    """Parents and folders within are made; nothing is left beside."""
    target = tmp_path / "new" / "folder"
    assert put(target) == sorted(FILES)
    assert content(target) == FILES
    assert [path.name for path in target.parent.iterdir()] == ["folder"]


def test_an_earlier_folder_is_replaced_whole(tmp_path: Path) -> None:
    """What it held and the new one does not is gone; an empty folder counts as nothing."""
    target = tmp_path / "folder"
    target.mkdir()
    put(target, {**FILES, "readme": b"old"})
    put(target)
    assert content(target) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    ("present", "told"),
    [
        ({"readme": b""}, "not an earlier export"),
        ({"mark.json": b"", "letter.txt": b""}, "letter.txt"),
        ({"mark.json": b"", "1_Part/more/letter.txt": b""}, "letter.txt"),
    ],
)
def test_anything_else_is_refused_and_kept(
    present: dict[str, bytes], told: str, tmp_path: Path
) -> None:
    """A mistyped folder costs nobody a file."""
    target = tmp_path / "folder"
    for name, raw in present.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(raw)
    with pytest.raises(FolderRefused, match=told):
        put(target)
    assert content(target) == present


def test_a_file_in_its_place_is_refused_and_kept(tmp_path: Path) -> None:
    """Only folders are replaced."""
    target = tmp_path / "folder"
    target.write_bytes(b"a letter")
    with pytest.raises(FolderRefused, match="is a file"):
        put(target)
    assert target.read_bytes() == b"a letter"


def test_what_the_check_refuses_is_never_there(tmp_path: Path) -> None:
    """The older folder stays as it was, and no part of the new one anywhere."""
    target = tmp_path / "folder"
    put(target, {**FILES, "readme": b"old"})

    def refuse(folder: Path) -> None:
        assert content(folder) == FILES
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        replace_whole(target, FILES, check=refuse)
    assert content(target)["readme"] == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
