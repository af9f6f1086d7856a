"""Folders are whole or not there, damage is found wherever it is, and the newest whole checkpoint is used."""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import save_file

from ernie_tiny.errors import InputError
from ernie_tiny.files import (
    CHECKSUM,
    MANIFEST,
    damage,
    errors_named,
    read_record,
    require_whole,
    seal,
    whole_folder,
    write_record,
    write_text,
)
from ernie_tiny.runtime import remedy_of
from ernie_tiny.training.checkpoint import checkpoint_folder, latest_checkpoint, prune_checkpoints

FILES = {"weights.bin": bytes(range(256)) * 3, "state.json": b'{"step": 7}', "nested/more.bin": b"\x00" * 40}


def write(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    with whole_folder(folder) as partial:
        for name, content in files.items():
            (partial / name).parent.mkdir(exist_ok=True)
            (partial / name).write_bytes(content)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("written") / "checkpoint-1")


# ---- whole or nothing


def test_a_folder_holds_what_was_written_and_a_manifest(tmp_path):
    folder = write(tmp_path / "deep" / "down")
    assert damage(folder) is None
    found = contents(folder)
    assert set(json.loads(found.pop(MANIFEST))) == set(FILES)
    assert found == FILES
    assert os.listdir(folder.parent) == ["down"]


def test_nothing_is_there_before_the_end(tmp_path):
    with whole_folder(tmp_path / "checkpoint-5") as partial:
        (partial / "a").write_bytes(b"1")
        assert not (tmp_path / "checkpoint-5").exists()
        assert latest_checkpoint(tmp_path) is None


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing(tmp_path, error):
    with pytest.raises(error), whole_folder(tmp_path / "checkpoint-5") as partial:
        (partial / "a").write_bytes(b"1")
        raise error
    assert os.listdir(tmp_path) == []


def test_an_exception_leaves_the_old_folder(tmp_path):
    folder = write(tmp_path / "best")
    before = contents(folder)
    with pytest.raises(OSError), whole_folder(folder) as partial:
        (partial / "weights.bin").write_bytes(b"new")
        raise OSError("no space left on device")
    assert contents(folder) == before and damage(folder) is None


def test_what_an_earlier_attempt_left_is_not_taken_over(tmp_path):
    (tmp_path / ".best.partial").mkdir()
    (tmp_path / ".best.partial" / "stale").write_bytes(b"1")  # of a process that was killed
    folder = write(tmp_path / "best", {"fresh": b"2"})
    assert set(contents(folder)) == {"fresh", MANIFEST}
    assert os.listdir(tmp_path) == ["best"]


def test_a_new_folder_takes_the_place_of_the_old(tmp_path):
    write(tmp_path / "best")
    folder = write(tmp_path / "best", {"other": b"2"})
    assert set(contents(folder)) == {"other", MANIFEST} and damage(folder) is None


def test_the_old_folder_is_never_half_of_one(tmp_path, monkeypatch):
    folder = write(tmp_path / "best")
    states = []

    def remove(path, *_args, **_keywords):
        states.append(damage(folder))

    monkeypatch.setattr(shutil, "rmtree", remove)
    write(folder, {"other": b"2"})
    assert states == [None] * len(states) and len(states) == 3


def test_a_folder_whose_sealing_was_killed_is_sealed_again(tmp_path):
    folder = write(tmp_path / "corpus")
    (folder / MANIFEST).rename(folder / f".{MANIFEST}.partial")
    seal(folder)
    assert damage(folder) is None and set(contents(folder)) == {*FILES, MANIFEST}


def test_a_file_is_written_whole(tmp_path):
    path = tmp_path / "new" / "result.json"
    write_text(path, "一")
    write_text(path, "二")
    assert path.read_text(encoding="utf-8") == "二" and os.listdir(path.parent) == ["result.json"]


# ---- a full disk


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may have more than 64 bytes, as after `ulimit -f`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_arrays(folder: Path) -> None:
    save_file({"a": np.zeros(1000)}, folder / "weights.safetensors")


def write_bytes(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(b"0" * 1000)


@pytest.mark.parametrize("write_into", [write_arrays, write_bytes])
def test_a_full_disk_names_the_folder_and_leaves_the_old_one(tmp_path, write_into):
    folder = write(tmp_path / "checkpoint-5", {"small": b"1"})
    with pytest.raises(OSError) as error, full_disk(), whole_folder(folder) as partial:
        write_into(partial)
    assert error.value.errno == errno.EFBIG and "checkpoint-5" in error.value.filename
    assert "The same command continues" in remedy_of(error.value)
    assert damage(folder) is None and os.listdir(tmp_path) == ["checkpoint-5"]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    write_text(path, "old")
    with pytest.raises(OSError) as error, full_disk():
        write_text(path, "new" * 100)
    assert error.value.filename == str(path)
    assert path.read_text(encoding="utf-8") == "old" and os.listdir(tmp_path) == ["result.json"]


def test_a_fault_of_the_content_is_no_fault_of_the_disk(tmp_path):
    with pytest.raises(SafetensorError), errors_named(tmp_path):
        raise SafetensorError("InvalidHeader")


# ---- damage


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path, name):
    folder = write(tmp_path / "f")
    (folder / name).unlink()
    assert damage(folder) == f"{name} is missing"


def test_a_missing_manifest_is_named(tmp_path):
    folder = write(tmp_path / "f")
    (folder / MANIFEST).unlink()
    assert damage(folder) == f"{MANIFEST} is missing"
    assert damage(tmp_path / "nothing") == f"{MANIFEST} is missing"


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_truncation_is_found_wherever_it_is(written, name):
    path = written / name
    whole = path.read_bytes()
    for length in {0, 1, len(whole) // 2, len(whole) - 2, len(whole) - 1}:
        path.write_bytes(whole[:length])
        assert name in (damage(written) or "")
    path.write_bytes(whole + b"\x00")  # and an addition
    assert name in (damage(written) or "")
    path.write_bytes(whole)
    assert damage(written) is None


@settings(deadline=None)
@given(name=st.sampled_from(list(FILES)), offset=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_wherever_it_is(written, name, offset, bit):
    path = written / name
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[offset % len(whole)] ^= 1 << bit
    path.write_bytes(bytes(flipped))
    assert damage(written) == f"{name} has another checksum than when it was written"
    path.write_bytes(whole)
    assert damage(written) is None


@settings(deadline=None)
@given(offset=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_manifest_is_found_or_harmless(written, offset, bit):
    path = written / MANIFEST
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[offset % len(whole)] ^= 1 << bit
    path.write_bytes(bytes(flipped))
    assert damage(written) is not None or json.loads(bytes(flipped)) == json.loads(whole)
    path.write_bytes(whole)


RECORD = {"stage": "distil", "task": None, "loss": 0.1, "objective": {"hard": {"weight": 1.0}}, "name": "一"}


def test_a_record_comes_back_without_its_checksum(tmp_path):
    write_record(tmp_path / "result.json", RECORD)
    assert CHECKSUM in json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert read_record(tmp_path / "result.json", "") == RECORD
    write_text(tmp_path / "result.json", json.dumps(RECORD))  # of an earlier version
    assert read_record(tmp_path / "result.json", "") == RECORD


@settings(deadline=None)
@given(offset=st.integers(0, 10_000), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_record_is_refused_or_says_the_same(written, offset, bit, cut):
    path = written.parent / "result.json"
    write_record(path, RECORD)
    whole = bytearray(path.read_bytes())
    offset %= len(whole)
    whole[offset] ^= 1 << bit
    path.write_bytes(bytes(whole[:offset] if cut else whole))
    try:
        found = read_record(path, "Remove the folder.")
    except InputError as error:
        assert str(error).startswith(f"{path}: is damaged") and str(error).endswith("Remove the folder.")
    else:
        assert {key: found.get(key) for key in RECORD} == RECORD  # white space, or the name of the checksum


def test_a_damaged_folder_is_refused_with_the_remedy(tmp_path):
    folder = write(tmp_path / "model")
    require_whole(folder, "")
    (folder / "weights.bin").unlink()
    with pytest.raises(InputError, match=r"model: is damaged: weights\.bin is missing\. Repeat the stage\.$"):
        require_whole(folder, "Repeat the stage.")


# ---- which checkpoint


def test_the_newest_is_that_of_the_most_steps(tmp_path):
    for step in (1000, 200, 9):
        write(checkpoint_folder(tmp_path, step))
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-1000"
    assert latest_checkpoint(tmp_path / "not there") is None


def test_other_folders_are_no_checkpoints(tmp_path):
    write(tmp_path / "checkpoint-5")
    others = ("checkpoint-9.partial", ".checkpoint-9.partial", "checkpoint-best", "best", "old-checkpoint-9")
    for name in others:
        write(tmp_path / name)
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-5"
    prune_checkpoints(tmp_path, 0)
    assert len(os.listdir(tmp_path)) == 5


def test_damaged_checkpoints_are_passed_over_and_named(tmp_path, caplog):
    for step in (100, 200, 300):
        write(checkpoint_folder(tmp_path, step))
    (tmp_path / "checkpoint-300" / "weights.bin").write_bytes(b"short")
    (tmp_path / "checkpoint-200" / MANIFEST).unlink()
    with caplog.at_level(logging.WARNING):
        assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-100"
    newest, middle = (record.getMessage() for record in caplog.records)
    assert "checkpoint-300" in newest and "weights.bin" in newest
    assert "checkpoint-200" in middle and MANIFEST in middle


def test_without_a_whole_checkpoint_the_stage_starts_anew_and_each_is_named(tmp_path, caplog):
    for step in (100, 200):
        write(checkpoint_folder(tmp_path, step))
        (tmp_path / f"checkpoint-{step}" / "state.json").unlink()
    assert latest_checkpoint(tmp_path) is None
    newest, oldest = (record.getMessage() for record in caplog.records)
    assert "checkpoint-200" in newest and "the checkpoint before it" in newest
    assert "checkpoint-100" in oldest and "none is left: the stage starts anew" in oldest


def test_a_whole_checkpoint_is_used_without_a_word(tmp_path, caplog):
    write(checkpoint_folder(tmp_path, 100))
    latest_checkpoint(tmp_path)
    assert caplog.text == ""


@pytest.mark.parametrize(("keep", "left"), [(0, []), (1, [1000]), (2, [200, 1000]), (9, [9, 30, 200, 1000])])
def test_pruning_keeps_the_newest(tmp_path, keep, left):
    for step in (200, 9, 1000, 30):
        write(checkpoint_folder(tmp_path, step))
    write(tmp_path / "best")
    prune_checkpoints(tmp_path, keep)
    assert sorted(os.listdir(tmp_path)) == sorted(["best", *(f"checkpoint-{step}" for step in left)])


def test_pruning_after_a_resume_does_not_keep_what_was_damaged(tmp_path):
    for step in (100, 200, 300):
        write(checkpoint_folder(tmp_path, step))
    prune_checkpoints(tmp_path, 1, newest=200)
    assert os.listdir(tmp_path) == ["checkpoint-200"]


def test_a_checkpoint_is_moved_as_one(tmp_path):
    folder = write(checkpoint_folder(tmp_path / "one", 5))
    shutil.copytree(folder, tmp_path / "two" / folder.name)
    assert damage(tmp_path / "two" / folder.name) is None
