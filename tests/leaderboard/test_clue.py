"""The leaderboard bundle: what is written, and that every fault of a bundle is named; on the sample data set."""

from __future__ import annotations

import json
import os
import random
import zipfile
from pathlib import Path
from typing import Callable

import pytest

from ernie_tiny.data.clue import CLUE
from ernie_tiny.data.task import Example, Prediction, TaskSpec
from ernie_tiny.errors import InputError
from ernie_tiny.kinds.entities import Entity
from ernie_tiny.leaderboard.check import SHOWN, FileCheck, check_submission, missing_files
from ernie_tiny.leaderboard.clue import BOARDS, read_questions, split_of, write_submission
from tests.tools import tool

FILES_11 = (
    *("afqmc_predict.json", "tnews11_predict.json", "iflytek_predict.json", "cmnli_predict.json"),
    *("ocnli_50k_predict.json", "cluewsc11_predict.json", "csl_predict.json"),
    *("cmrc2018_predict.json", "chid11_predict.json", "c311_predict.json"),
)
FILES_10 = ("tnews10_predict.json", "cluewsc10_predict.json", "chid10_predict.json", "c310_predict.json")
Contents = dict[str, bytes]


def random_answers(spec: TaskSpec, examples: tuple[Example, ...], rng: random.Random) -> list[Prediction]:
    """For each example an answer of its kind."""

    def answer(example: Example) -> str:
        if spec.kind == "reading":
            start = rng.randrange(len(example.texts[1]))
            return example.texts[1][start : start + 9]
        return str(rng.randrange(len(example.candidates))) if example.candidates else rng.choice(spec.labels)

    return [Prediction(example.id, answer(example)) for example in examples]


@pytest.fixture(scope="module")
def bundle(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files of both leaderboards, as the writer writes them."""
    rng, target = random.Random(0), tmp_path_factory.mktemp("bundle") / "good.zip"
    write_submission(
        {
            name: {split: random_answers(spec, read_questions(spec, sample, split), rng) for split in spec.submission}
            for name, spec in CLUE.items()
        },
        target,
    )
    return target


@pytest.fixture(scope="module")
def good(bundle: Path) -> Contents:
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def checked(root: Path, target: Path, contents: Contents) -> dict[str, FileCheck]:
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return {check.name: check for check in check_submission(target, root)}


# What is written.


def test_a_written_bundle_has_the_names_of_both_leaderboards_and_is_valid(sample: Path, bundle: Path) -> None:
    checks = check_submission(bundle, sample)
    assert sorted(check.name for check in checks) == sorted(FILES_11 + FILES_10)
    assert [(check.name, check.faults, check.warnings) for check in checks if check.faults or check.warnings] == []
    assert missing_files(checks) == []
    assert all(str(check).endswith(" checked: valid") for check in checks)


def test_a_board_is_served_by_its_own_splits() -> None:
    names = [[spec.submission[split_of(spec, board)] for spec in CLUE.values()] for board in BOARDS]
    assert tuple(names[0]) == FILES_11
    assert [name for name in names[1] if name not in FILES_11] == list(FILES_10)


def test_the_forms_are_those_of_the_site(sample: Path, good: Contents) -> None:
    for name, content in good.items():
        assert content.endswith(b"\n") and not content.startswith(b"\xef\xbb\xbf"), name
    lines = [json.loads(line) for line in good["tnews11_predict.json"].splitlines()]
    assert [line["id"] for line in lines] == list(range(100))
    assert all(list(line) == ["id", "label"] and line["label"] in CLUE["tnews"].labels for line in lines)
    wsc = [json.loads(line)["label"] for line in good["cluewsc11_predict.json"].splitlines()]
    assert set(wsc) == {"true", "false"}
    assert all(type(json.loads(line)["label"]) is int for line in good["c311_predict.json"].splitlines())
    chid = json.loads(good["chid11_predict.json"])
    assert list(chid) == [example.id for example in read_questions(CLUE["chid"], sample, "test1.1")]
    assert all(key[0] == key[-1] == "#" and type(index) is int for key, index in chid.items())
    cmrc = json.loads(good["cmrc2018_predict.json"])
    assert all(isinstance(text, str) for text in cmrc.values())
    assert not any(b"\\u" in content for content in good.values())


def test_ids_and_order_are_those_of_the_test_file_and_bytes_repeat(tmp_path: Path) -> None:
    answers = {
        "csl": {"test": [Prediction("2415", "1"), Prediction("7", "0")]},
        "cmrc2018": {"test": [Prediction("TEST_0_QUERY_0", '罗亚尔港号"（')]},
    }
    for name in ("new/a.zip", "b.zip"):
        write_submission(answers, tmp_path / name)
    assert (tmp_path / "new/a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert archive.read("csl_predict.json") == b'{"id": 2415, "label": "1"}\n{"id": 7, "label": "0"}\n'
        assert archive.read("cmrc2018_predict.json").decode() == '{\n "TEST_0_QUERY_0": "罗亚尔港号\\"（"\n}\n'
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"afqmc": {"test": [Prediction("x-1", "0")]}}, "afqmc: the id 'x-1' is no whole number"),
        ({"ocnli": {"test": [Prediction("5", "2")]}}, "ocnli: example 5 is answered '2'. Valid: entailment"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, answers: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_submission(answers, tmp_path / "submit.zip")
    assert list(tmp_path.iterdir()) == []


# Bundles with a fault.


def lines_of(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True)


def with_line(number: int, line: bytes) -> Callable[[bytes], bytes]:
    """A change of one line of a file, counted from 1."""

    def change(content: bytes) -> bytes:
        lines = lines_of(content)
        lines[number - 1] = line
        return b"".join(lines)

    return change


BROKEN: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("afqmc", lambda text: b"".join(lines_of(text)[:-1]), "has no answer to 1 of 100 ids of the test file: 99."),
    ("afqmc", lambda text: b"", "is empty."),
    ("afqmc", lambda text: b"\xef\xbb\xbf" + text, "line 1: begins with a byte-order mark. Save the file as UTF-8"),
    ("afqmc", lambda text: text + lines_of(text)[3], "line 101: the id 3 stands already at line 4."),
    ("afqmc", lambda text: text + b'{"id": 100, "label": "0"}\n', "line 101: the id 100 is one too many"),
    ("afqmc", with_line(4, b'{"id": 3, "label": "2"}\n'), "line 4: afqmc has no label \"2\". Valid: 0, 1."),
    ("afqmc", with_line(4, b'{"id": 3, "label": 1}\n'), "line 4: the answer is 1, and must be text, in quotes."),
    ("afqmc", with_line(4, b'{"id": 3.0, "label": "1"}\n'), "line 4: the id is 3.0, and must be a whole number."),
    ("afqmc", with_line(4, b'{"id": 3}\n'), "line 4: has no field 'label'"),
    ("afqmc", with_line(4, b'{"id": 3, "label": "1", "score": 1}\n'), "line 4: has the field 'score', one too many."),
    ("afqmc", with_line(4, b'{"id": 3, "label": "1", "label": "0"}\n'), "line 4: has a field twice."),
    ("afqmc", with_line(4, b'{"id": 3, "label": "1"\n'), "line 4: is not JSON (Expecting ',' delimiter at column"),
    ("afqmc", with_line(4, b"\n"), "line 4: is not JSON (Expecting value at column 1)."),
    ("afqmc", with_line(4, b'[3, "1"]\n'), 'line 4: holds [3, "1"], and no object {"id": ..., "label": ...}.'),
    ("afqmc", with_line(4, b"[" * 100_000 + b"\n"), "line 4: is not JSON ("),
    ("afqmc", with_line(4, b'{"id": 3, "label": "\xca\xc7"}\n'), "line 4: is not UTF-8 (invalid continuation"),
    ("ocnli_50k", with_line(1, b'{"id": 0, "label": "neutra"}\n'), "ocnli has no label \"neutra\". Did you mean 'neut"),
    ("cluewsc11", with_line(1, b'{"id": 0, "label": true}\n'), "line 1: the answer is true, and must be text"),
    ("tnews11", with_line(1, b'{"id": 0, "label": "105"}\n'), 'line 1: tnews has no label "105". Did you mean \'1'),
    ("iflytek", with_line(1, b'{"id": 0, "label": "xyz"}\n'), 'no label "xyz". Valid: 0, 1, 2, ..., 118.'),
    ("c311", with_line(1, b'{"id": 0, "label": 9}\n'), "line 1: the answer is 9, and must be a whole number from 0 to"),
    ("c311", with_line(1, b'{"id": 0, "label": "A"}\n'), 'line 1: the answer is "A", and must be a whole'),
    ("c310", with_line(1, b'{"id": 0, "label": true}\n'), "line 1: the answer is true, and must be a whole number"),
    ("chid11", lambda text: text.replace(b"{", b'{"#idiom1#": 0,', 1), "key '#idiom1#': the id #idiom1# is one too"),
    ("chid11", lambda text: text.replace(b"}", b',"x": {"y": 1}}', 1), "key 'x': the id x is one too many"),
    ("chid11", lambda text: text.replace(b": 3", b": 10", 1), "the answer is 10, and must be a whole number"),
    ("chid10", lambda text: text.replace(b": 3", b': "3"', 1), 'the answer is "3", and must be a whole number'),
    ("cmrc2018", lambda text: b"{}", "has no answer to "),
    ("cmrc2018", lambda text: b"[]", "line 1: holds []. The file is one object of all answers"),
    ("cmrc2018", lambda text: text.replace(b",", b"", 1), "line 3: is not JSON (Expecting ',' delimiter at column 2)."),
    ("cmrc2018", lambda text: text.replace(b"\n}", b"\xff\n}"), "is not UTF-8 (invalid start byte: byte 0xff)."),
    ("cmrc2018", lambda text: lines_of(text)[0] + lines_of(text)[1] + b"".join(lines_of(text)[1:]),
     "stands already at key 'TEST_0_QUERY_0'."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "message"), BROKEN, ids=lambda value: value if type(value) is str else "")
def test_a_fault_in_a_file_is_named(
    sample: Path, good: Contents, tmp_path: Path, name: str, change: Callable[[bytes], bytes], message: str
) -> None:
    name = f"{name}_predict.json"
    changed = change(good[name])
    assert changed != good[name]
    check = checked(sample, tmp_path / "bad.zip", {name: changed})[name]
    assert any(message in fault for fault in check.faults), check.faults
    assert len(check.faults) <= 2  # a line that cannot be read leaves its id without an answer


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("submit/afqmc_predict.json", "stands in a folder. The site reads the top of a zip alone"),
        ("submit\\afqmc_predict.json", "stands in a folder."),
        ("submit/", "stands in a folder."),
        ("tnews_predict.json", "is no file that the site knows. Did you mean 'tnews1"),
        ("AFQMC_predict.json", "is no file that the site knows. Did you mean 'afqmc_predict.json'?"),
        ("__MACOSX/._afqmc_predict.json", "is no file that the site knows. Did you mean 'afqmc_predict.json'?"),
        ("readme.txt", "is no file that the site knows."),
    ],
)
def test_a_file_that_the_site_would_not_read_is_named(
    sample: Path, good: Contents, tmp_path: Path, name: str, message: str
) -> None:
    check = checked(sample, tmp_path / "bad.zip", {name: good["afqmc_predict.json"]})[name]
    assert any(message in fault for fault in check.faults), check.faults


def test_a_file_that_stands_twice_is_named(sample: Path, good: Contents, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("afqmc_predict.json", good["afqmc_predict.json"])
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("afqmc_predict.json", good["afqmc_predict.json"])
    checks = check_submission(tmp_path / "bad.zip", sample)
    assert [check.faults for check in checks] == [["stands 2 times in the zip."]] * 2


def test_encrypted_damaged_and_oversized_files_are_named(sample: Path, good: Contents, tmp_path: Path) -> None:
    content = good["afqmc_predict.json"]
    checked(sample, tmp_path / "bad.zip", {"afqmc_predict.json": content})
    packed = (tmp_path / "bad.zip").read_bytes()
    directory = packed.rindex(b"PK\1\2")
    for place, change, message in (
        (directory + 8, b"\1", "is encrypted. Make the zip without a password."),
        (directory + 10, b"\x63", "cannot be unpacked (That compression method is not supported). Make the zip anew."),
        (directory + 24, (1 << 30).to_bytes(4, "little"), "unpacks to 1,073,741,824 bytes; no such file has more than"),
        (packed.index(content) + 9, b"x", "cannot be unpacked (Bad CRC-32 for file 'afqmc_predict.json'). Make the"),
    ):
        (tmp_path / "bad.zip").write_bytes(packed[:place] + change + packed[place + len(change) :])
        (check,) = check_submission(tmp_path / "bad.zip", sample)
        assert message in check.faults[0]


def test_what_is_no_zip_is_refused(sample: Path, good: Contents, tmp_path: Path) -> None:
    checked(sample, tmp_path / "cut.zip", good)
    (tmp_path / "cut.zip").write_bytes((tmp_path / "cut.zip").read_bytes()[:5000])
    (tmp_path / "plain.zip").write_bytes(good["afqmc_predict.json"])
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    for name, message in (
        ("cut.zip", "is not a zip, or not a whole one"),
        ("plain.zip", "is not a zip"),
        ("empty.zip", "is a zip without a file"),
        ("absent.zip", "no such file"),
    ):
        with pytest.raises(InputError, match=message):
            check_submission(tmp_path / name, sample)


def test_a_file_without_its_test_file_is_not_called_valid(good: Contents, tmp_path: Path) -> None:
    check = checked(tmp_path, tmp_path / "some.zip", {"chid11_predict.json": good["chid11_predict.json"]})
    (fault,) = check["chid11_predict.json"].faults
    assert "cannot be compared with the test file" in fault and "test1.1.json: no such file" in fault


def test_a_test_file_that_cannot_be_read_is_not_the_bundles_fault(bundle: Path) -> None:
    with pytest.raises(OSError, match="name too long"):
        check_submission(bundle, Path("x" * 300))


def test_many_faults_are_counted_and_the_first_shown(sample: Path, good: Contents, tmp_path: Path) -> None:
    text = good["csl_predict.json"].replace(b'"0"}', b'"9"}').replace(b'"1"}', b'"9"}')
    check = checked(sample, tmp_path / "bad.zip", {"csl_predict.json": text})["csl_predict.json"]
    assert len(check.faults) == 100
    shown = str(check).splitlines()
    assert shown[0] == "csl_predict.json           100 lines checked: 100 faults"
    assert len(shown) == SHOWN + 2 and shown[-1] == "  and 90 more"


# What other writers do otherwise.


def relabelled(content: bytes, change: Callable[[dict], dict]) -> bytes:
    return b"".join(json.dumps(change(json.loads(line))).encode() + b"\n" for line in lines_of(content))


@pytest.mark.parametrize(
    ("name", "change", "warning"),
    [
        ("afqmc", lambda text: relabelled(text, lambda row: {**row, "id": str(row["id"])}), "ids are text"),
        ("c311", lambda text: relabelled(text, lambda row: {**row, "label": str(row["label"])}), "labels are text"),
        ("tnews11", lambda text: relabelled(text, lambda row: {**row, "label_desc": ""}), "has the field 'label_desc'"),
        (
            "iflytek",
            lambda text: b"".join(reversed(lines_of(text))),
            "line 1: the id 99 stands where the test file has 0",
        ),
    ],
)
def test_what_writers_disagree_on_is_a_warning(
    sample: Path, good: Contents, tmp_path: Path, name: str, change: Callable[[bytes], bytes], warning: str
) -> None:
    name = f"{name}_predict.json"
    check = checked(sample, tmp_path / "other.zip", {name: change(good[name])})[name]
    assert check.faults == []
    assert len(check.warnings) == 1 and warning in check.warnings[0]


def test_rows_counted_from_0_are_a_warning_where_the_test_file_has_other_ids(tmp_path: Path) -> None:
    records = [{"id": number, "abst": "文", "keyword": ["词"]} for number in (30, 10, 20)]
    file = tmp_path / CLUE["csl"].files["test"][0]
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    for ids, faults, warnings in (([30, 10, 20], 0, 0), ([0, 1, 2], 0, 1), ([1, 2, 3], 4, 0), ([10, 20, 30], 0, 1)):
        text = "".join(json.dumps({"id": number, "label": "1"}) + "\r\n" for number in ids)
        check = checked(tmp_path, tmp_path / "rows.zip", {"csl_predict.json": text.encode()})["csl_predict.json"]
        assert (len(check.faults), len(check.warnings)) == (faults, warnings), (ids, check)


def test_a_file_of_a_task_that_is_not_known_here_is_passed_over(sample: Path, tmp_path: Path) -> None:
    check = checked(sample, tmp_path / "beside.zip", {"AX.tsv": b"{}"})["AX.tsv"]
    assert check.faults == [] and "was not looked at" in check.warnings[0]


def test_entities_are_written_and_checked_where_they_stand(tmp_path: Path) -> None:
    (tmp_path / "clue/cluener_public").mkdir(parents=True)
    lines = [{"id": 0, "text": "彭小军认为"}, {"id": 1, "text": "无"}]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (tmp_path / "clue/cluener_public/test.json").write_text(text, encoding="utf-8")
    answers = [Prediction("0", (Entity("彭小军", "name", 0, 3, 0.9),)), Prediction("1", ())]
    write_submission({"cluener": {"test": answers}}, tmp_path / "submit.zip")
    with zipfile.ZipFile(tmp_path / "submit.zip") as archive:
        written = archive.read("cluener_predict.json").decode()
    assert written == '{"id": 0, "label": {"name": {"彭小军": [[0, 2]]}}}\n{"id": 1, "label": {}}\n'
    (check,) = check_submission(tmp_path / "submit.zip", tmp_path)
    assert check.faults == []
    moved = written.replace("[[0, 2]]", "[[1, 3]]")
    check = checked(tmp_path, tmp_path / "moved.zip", {"cluener_predict.json": moved.encode()})["cluener_predict.json"]
    assert "does not stand at 1 to 3" in check.faults[0]


# The tool, and the real test files.


def test_the_tool_prints_the_counts_and_exits_with_2_for_a_fault(
    sample: Path, bundle: Path, good: Contents, tmp_path: Path
) -> None:
    done = tool("check_submission", str(bundle), "--data", str(sample))
    assert "afqmc_predict.json         100 lines checked: valid\n" in done.stdout
    assert done.stdout.endswith("14 of 14 files are valid\n")
    checked(sample, tmp_path / "bad.zip", {"afqmc_predict.json": good["afqmc_predict.json"], "x.json": b"{}"})
    done = tool("check_submission", str(tmp_path / "bad.zip"), "--data", str(sample), code=2)
    assert "not in the bundle: tnews11_predict.json, iflytek_predict.json" in done.stdout
    assert done.stdout.endswith("1 of 2 files are valid\n")


@pytest.mark.skipif("ERNIE_TINY_DATA" not in os.environ, reason="ERNIE_TINY_DATA names no data root")
def test_random_answers_to_the_real_test_files_are_valid(tmp_path: Path) -> None:
    root, rng = Path(os.environ["ERNIE_TINY_DATA"]), random.Random(0)
    predictions = {
        name: {"test" if "test" in spec.submission else "test1.1": random_answers(spec, examples, rng)}
        for name, spec in CLUE.items()
        if name != "chid"
        for examples in [read_questions(spec, root, split_of(spec, "test"))]
    }
    write_submission(predictions, tmp_path / "submit.zip")
    checks = check_submission(tmp_path / "submit.zip", root)
    assert [(check.faults, check.warnings) for check in checks] == [([], [])] * 9
    assert {check.name: check.checked for check in checks} == {
        "afqmc_predict.json": "3,861 lines",
        "tnews11_predict.json": "10,000 lines",
        "iflytek_predict.json": "2,600 lines",
        "cmnli_predict.json": "13,880 lines",
        "ocnli_50k_predict.json": "3,000 lines",
        "cluewsc11_predict.json": "290 lines",
        "csl_predict.json": "3,000 lines",
        "cmrc2018_predict.json": "2,000 keys",
        "c311_predict.json": "1,625 lines",
    }
    assert missing_files(checks) == ["chid11_predict.json"]
