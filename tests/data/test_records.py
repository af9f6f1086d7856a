"""Text, JSON lines and tables as records, and what is said of those that are none."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie_tiny.data.records import csv_error_meaning, has_field, id_of, table_records, text_lines
from ernie_tiny.errors import InputError

TEXT = "今天\n天气很好\nabc\n"


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def table(path: Path, content: bytes, columns: Sequence[str] = ()) -> list[Optional[dict[str, str]]]:
    file_format = path.suffix[1:]
    return [record for _, record in table_records(write(path, content), file_format, columns, drop_broken=False)]


# ---- encodings


@pytest.mark.parametrize(
    ("encoding", "advice"),
    [
        ("utf-16", "iconv -f utf-16 -t utf-8"),
        ("utf-16-le", "iconv -f utf-16le -t utf-8"),
        ("utf-16-be", "iconv -f utf-16be -t utf-8"),
        ("utf-32", "iconv -f utf-32 -t utf-8"),
        ("gb18030", "iconv -f gb18030 -t utf-8"),
    ],
)
def test_the_encoding_that_a_message_names_reads_the_file(encoding: str, advice: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", TEXT.encode(encoding))
    with pytest.raises(InputError) as caught:
        list(text_lines(path))
    assert "a.txt:1: is not UTF-8" in str(caught.value) and advice in str(caught.value)
    assert path.read_bytes().decode(advice.split()[2]).lstrip("\ufeff") == TEXT


def test_latin_text_in_utf_16_without_a_mark_is_no_utf_8(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.txt:1: is not UTF-8\. Convert the file; it is UTF-16LE"):
        list(text_lines(write(tmp_path / "a.txt", "plain words\n".encode("utf-16-le"))))


def test_bytes_of_no_encoding(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.txt:2: is not UTF-8 .* not GB 18030 either: is it text"):
        list(text_lines(write(tmp_path / "a.txt", b"a\n\xff\xff\n")))


def test_a_stray_zero_byte_is_text(tmp_path: Path) -> None:
    assert list(text_lines(write(tmp_path / "a.txt", "今天\0天气很好\n".encode()))) == ["今天\0天气很好\n"]


def test_progress_counts_bytes(tmp_path: Path) -> None:
    counted: list[int] = []
    list(text_lines(write(tmp_path / "a.txt", TEXT.encode()), counted.append))
    assert counted == [7, 13, 4]


# ---- tables


@pytest.mark.parametrize("text", ["长" * 140_000, '"甲', "甲\r乙", "甲\u2028乙\x85", "甲\0乙", " 甲 "])
def test_a_tsv_may_hold_what_json_lines_may_hold_but_tabs_and_line_ends(text: str, tmp_path: Path) -> None:
    assert table(tmp_path / "a.tsv", f"label\ttext\n1\t{text}\n".encode()) == [{"label": "1", "text": text}]


@pytest.mark.parametrize("text", ["长" * 140_000, '"甲', "甲\r乙", "甲\u2028乙\x85", " 甲 ", "甲,乙\t丙", "甲\r\n乙\n"])
def test_a_csv_may_hold_what_json_lines_may_hold(text: str, tmp_path: Path) -> None:
    quoted = '"' + text.replace('"', '""') + '"'
    assert table(tmp_path / "a.csv", f"label,text\n1,{quoted}\n".encode()) == [{"label": "1", "text": text}]


TEXTS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=20)


@settings(deadline=None, max_examples=200)
@given(rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
def test_what_pythons_writer_writes_is_read_back(
    rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    assert [record for _, record in table_records(path, "csv", (), False)] == [{"a": a, "b": b} for a, b in rows]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", 'a,b\n"x,1\ny,2\n', r"is not CSV: a quotation mark in the row that begins on line 2 is not closed"),
        ("a.csv", 'a,b\n1,2\n"x"y,1\n', r"a\.csv:3: is not CSV: behind a closing .* is doubled\.$"),
        ("a.csv", 'a,b\n"x,1\n"y",2\n', r"a\.csv:3: is not CSV: .*Is a quotation mark of line 2, where the row begins"),
        ("a.csv", "a,b\nx\ry,1\n", r"a\.csv:2: is not CSV: a carriage return stands alone"),
        ("a.csv", 'a,b\n1, "x,y"\n', r"a\.csv:2: has 3 columns, the header 2 .* begin right behind the comma"),
        ("a.tsv", "a\tb\n1\tx\ty\n", r"a\.tsv:2: has 3 columns, the header 2 \(a, b\).* A text holds no tab"),
        ("a.tsv", "a\tb\rx\t1\r", r"a\.tsv:1: the header holds a carriage return"),
        ("a.tsv", "a\tb\ta\n", r"a\.tsv:1: the column 'a' stands twice"),
    ],
)
def test_each_fault_of_a_table_has_its_own_explanation(name: str, content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        table(tmp_path / name, content.encode())


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_header_below_columns_that_are_named_is_no_row(name: str, tmp_path: Path) -> None:
    mark = "," if name == "a.csv" else "\t"
    content = f"a{mark}b\n1{mark}x\n".encode()
    with pytest.raises(InputError, match=r"a\..sv:1: is the header, and columns names"):
        table(tmp_path / name, content, ("a", "b"))
    assert table(tmp_path / name, content, ("b", "a"))[0] == {"b": "a", "a": "b"}


def test_columns_without_a_name_may_be_many(tmp_path: Path) -> None:
    assert table(tmp_path / "a.csv", b"a,,\nx,,\n") == [{"a": "x", "": ""}]


def test_no_error_of_the_csv_reader_is_passed_on_as_it_is() -> None:
    """The messages of CPython's _csv.c from 3.9 to 3.13, those of writers and of wrong arguments left out."""
    for error in (
        "unexpected end of data",
        "',' expected after '\"'",
        "new-line character seen in unquoted field - do you need to open the file with newline=''?",
        "field larger than field limit (2147483647)",
        "line contains NUL",
    ):
        assert error not in csv_error_meaning(error, first=2, last=2)


# ---- fields and ids


@pytest.mark.parametrize("name", ["text ", " text", "\ufefftext", "text\u3000", "text\u200b"])
def test_a_name_that_differs_in_what_does_not_show_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="differs by a blank: take it out"):
        has_field({name: "x"}, "text", "here")
    assert has_field({name: "x", "text": "y"}, "text", "here")


def test_names_that_differ_in_what_shows_are_other_names() -> None:
    assert not has_field({"Text": "x", "texts": "y"}, "text", "here")


@pytest.mark.parametrize("record", [{"id": True}, {"id": 1.5}, {"id": []}, {"id": {}}, {"id ": 3}])
def test_an_id_that_is_none_is_refused_rather_than_made_up(record: Mapping[str, Any]) -> None:
    with pytest.raises(InputError, match="^here: "):
        id_of(record, "id", 5, "here")


@pytest.mark.parametrize("record", [{}, {"id": None}, {"id": ""}])
def test_a_record_without_an_id_has_another_if_there_is_one(record: Mapping[str, Any]) -> None:
    assert id_of(record, "id", 5, "here") == "5"
    with pytest.raises(InputError, match="here: 'id' = .*: an id is a text or a whole number"):
        id_of(record, "id", None, "here")


@pytest.mark.parametrize(("record", "found"), [({"id": 0}, "0"), ({"id": "x"}, "x")])
def test_ids_are_text(record: Mapping[str, Any], found: str) -> None:
    assert id_of(record, "id", 5, "here") == found
