"""Output files appear complete or not at all, and a failure is a short message that names the file."""

import os
import resource
import stat
import subprocess
import sys

import pytest

from etesian._shared.files import atomic_folder, atomic_write, check_output
from etesian.errors import InputError, OutputError


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_is_replaced_when_the_block_ends(tmp_path):
    (tmp_path / "a").write_text("old")
    with atomic_write(tmp_path / "a", "w") as file:
        file.write("new\n")
        assert (tmp_path / "a").read_text() == "old"
    assert (tmp_path / "a").read_bytes() == b"new\n"
    assert names_in(tmp_path) == ["a"]


def fail_while_writing(path, failure):
    with atomic_write(path) as file:
        file.write(b"half")
        raise failure


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_old_file_is_kept_after_a_failure(tmp_path, failure):
    (tmp_path / "a").write_text("old")
    with pytest.raises(failure):
        fail_while_writing(tmp_path / "a", failure)
    assert (tmp_path / "a").read_text() == "old"
    assert names_in(tmp_path) == ["a"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        with atomic_write(tmp_path / "a") as file:
            file.write(b"x")
        with atomic_folder(tmp_path / "b"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o777 & ~mask


def test_symbolic_links_are_replaced_and_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_text("theirs")
    (tmp_path / "a").symlink_to("elsewhere")
    with atomic_write(tmp_path / "a", "w") as file:
        file.write("ours")
    assert (tmp_path / "elsewhere").read_text() == "theirs"
    assert not (tmp_path / "a").is_symlink()


def test_temporary_file_is_new_even_if_its_name_is_taken(tmp_path, monkeypatch):
    (tmp_path / "target").write_text("theirs")
    (tmp_path / ".etesian-guessed").symlink_to("target")
    monkeypatch.setattr("etesian._shared.files.secrets.token_hex", lambda n: "guessed")
    with pytest.raises(OutputError, match="File exists"), atomic_write(tmp_path / "a") as file:
        file.write(b"ours")
    assert (tmp_path / "target").read_text() == "theirs"


def test_devices_stay_devices():
    with atomic_write("/dev/null") as file:
        file.write(b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_folder_appears_complete_or_not_at_all(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "a") as folder:
        (folder / "half").write_text(f"{1 / 0}")
    assert names_in(tmp_path) == []
    with atomic_folder(tmp_path / "a") as folder:
        (folder / "whole").write_text("x")
        assert not (tmp_path / "a").exists()
    assert names_in(tmp_path / "a") == ["whole"]
    with pytest.raises(OutputError, match="already exists"), atomic_folder(tmp_path / "a"):
        pass


@pytest.mark.parametrize(
    ("place", "reason"), [("missing/a", "no folder .*missing"), ("", "is a folder"), ("file/a", "no folder")]
)
def test_mistakes_are_named_before_the_work(tmp_path, place, reason):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=reason):
        check_output(tmp_path / place)
    with pytest.raises(OutputError, match=reason), atomic_write(tmp_path / place):
        pytest.fail("the block must not run")


def test_read_only_folder_is_an_output_error(tmp_path):
    code = (
        "import sys; from etesian._shared.files import atomic_write\n"
        "try:\n"
        "    with atomic_write(sys.argv[1] + '/a'): pass\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    if os.geteuid() == 0:  # permissions do not stop root
        command = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override", *command]
    tmp_path.chmod(0o555)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        tmp_path.chmod(0o755)
    assert done.stdout.startswith("StorageError"), done
    assert f"{tmp_path}/a cannot be written" in done.stdout


def test_full_disk_keeps_the_old_file_and_names_the_new_one(tmp_path):
    (tmp_path / "a").write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with (
            pytest.raises(OutputError, match=r"/a cannot be written: File too large"),
            atomic_write(tmp_path / "a") as f,
        ):
            f.write(bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "a").read_text() == "old"
    assert names_in(tmp_path) == ["a"]


def test_errors_of_other_files_pass_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a"):
        open(tmp_path / "other" / "b").close()
