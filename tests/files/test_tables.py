"""Tables are read as other programs write them; what cannot be read is an error with its line."""

import codecs
from pathlib import Path

import pytest

from wordsight.errors import InputError
from wordsight.files.documents import read_json, read_text
from wordsight.files.tables import Row, read_rows


def table(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pairs(rows: list[Row]) -> list[tuple[str, str]]:
    return [tuple(row.values.values()) for row in rows]


ROWS = [("a.png", 'a "stop" sign'), ("b.png", "a cup, black"), ("c.png", "a ring")]
DIALECTS: dict[str, tuple[str, list[str]]] = {
    "comma": ("t.csv", ["image,caption", 'a.png,"a ""stop"" sign"', 'b.png,"a cup, black"', "c.png,a ring"]),
    "semicolon": ("t.csv", ["image;caption", 'a.png;a "stop" sign', "b.png;a cup, black", "c.png;a ring"]),
    "Excel's first line": (
        "t.csv",
        ["sep=;", "image;caption", 'a.png;"a ""stop"" sign"', "b.png;a cup, black", "c.png;a ring"],
    ),
    "empty columns at the end": (
        "t.csv",
        ["image,caption,,", 'a.png,"a ""stop"" sign",,', 'b.png,"a cup, black",,', "c.png,a ring,,"],
    ),
    "the row numbers of pandas": (
        "t.csv",
        [",image,caption", '0,a.png,"a ""stop"" sign"', '1,b.png,"a cup, black"', "2,c.png,a ring"],
    ),
    "tabs": ("t.tsv", ["image\tcaption", 'a.png\ta "stop" sign', "b.png\ta cup, black", "c.png\ta ring"]),
    "tabs, quoted by pandas": (
        "t.tsv",
        ["image\tcaption", 'a.png\t"a ""stop"" sign"', 'b.png\t"a cup, black"', "c.png\ta ring"],
    ),
    "tabs in a .csv": (
        "t.csv",
        ["image\tcaption", 'a.png\ta "stop" sign', "b.png\ta cup, black", "", "c.png\ta ring"],
    ),
}
LINE_ENDS = {"Unix": "\n", "Windows": "\r\n", "old Macintoshes": "\r"}
ENCODINGS = {
    "UTF-8": "utf-8",
    "UTF-8 with a mark": "utf-8-sig",
    "UTF-16": "utf-16",
    "UTF-32": "utf-32",
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", LINE_ENDS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_one_table_in_every_dialect(tmp_path: Path, dialect: str, end: str, encoding: str) -> None:
    name, lines = DIALECTS[dialect]
    content = LINE_ENDS[end].join([*lines, ""]).encode(ENCODINGS[encoding])
    assert pairs(read_rows(table(tmp_path, name, content))) == ROWS


def test_a_tsv_has_no_quoting(tmp_path: Path) -> None:
    """docling#472, video2dataset#117: a quote that opens a value swallowed the rows up to the next quote."""
    content = 'image\tcaption\na.png\t"Stop sign at a corner\nb.png\ta cup labelled tea"\nc.png\ta ring\n'
    rows = read_rows(table(tmp_path, "x.tsv", content))
    assert [row.values["image"] for row in rows] == ["a.png", "b.png", "c.png"]
    assert [row.line for row in rows] == [2, 3, 4]


def test_a_tsv_that_fits_its_header_only_with_quoting_has_it(tmp_path: Path) -> None:
    content = 'image\tcaption\na.png\t"a sign\tand a\nlamp"\nb.png\tx\n'
    assert pairs(read_rows(table(tmp_path, "x.tsv", content))) == [
        ("a.png", "a sign\tand a\nlamp"),
        ("b.png", "x"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", 'image,caption\na.png,"Stop\nb.png,a cup"\nc.png,a ring\n',
         r"t\.csv line 2: one quoted value .* 'b\.png,a cup'; close the quote"),
        ("t.csv", 'id,caption\n17,"Stop\n18,a cup"\n19,a ring\n', r"line 2: one quoted value .*'18,a cup'"),
        ("t.csv", 'image,caption\na.png,x\nb.png,"Stop\nc.png,y\n', r"line 3: a quote .* is never closed"),
        ("t.csv", 'image,caption\na.png,"x"y\n', r"line 2: .*a quote inside a quoted value is written twice"),
        ("t.csv", "image,caption\na.png,a cup, black\n", r"line 2: 3 columns.*put double quotes around"),
        ("t.csv", "image,caption,,\na.png,x,y,\n", r"line 2: 3 columns, but the header names 2"),
        ("t.tsv", "image\tcaption\na.png\n", r"line 2: 1 columns, .*; fill in the others"),
        ("t.csv", "image,caption,image\na,b,c\n", r"names the column image twice"),
        ("t.jsonl", "[" * 100_000, r"line 1 not valid JSON|line 1 column \d+: not valid JSON"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_by_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_rows(table(tmp_path, name, content))


def test_a_caption_of_several_lines_is_one_caption(tmp_path: Path) -> None:
    content = 'image,caption\na.png,"A dog,\nrunning, fast"\nb.png,x\n'
    assert pairs(read_rows(table(tmp_path, "t.csv", content)))[0] == ("a.png", "A dog,\nrunning, fast")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x.jpg#0\ta dog", ("x.jpg", "a dog")),
        ("x.jpg#zhc#0\t一只 狗", ("x.jpg", "一只 狗")),
        ("x.jpg#zhc#0 一只 狗", ("x.jpg", "一只 狗")),  # flickr8kcn#2
        ("my pictures/x 1.jpg#enc#12  a dog #1", ("my pictures/x 1.jpg", "a dog #1")),
    ],
)
def test_numbered_captions_of_flickr8k_in_any_language(tmp_path: Path, line: str, expected: object) -> None:
    assert pairs(read_rows(table(tmp_path, "token.txt", f"{line}\n{line}\n"))) == [expected] * 2


def test_latin_1_is_said_with_its_line_and_what_it_would_be(tmp_path: Path) -> None:
    path = table(tmp_path, "t.csv", "image,caption\na.png,x\nb.png,a café\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"t\.csv line 3: byte 0xe9 .*Latin-1 it is 'b\.png,a café'; save"):
        read_rows(path)


@pytest.mark.parametrize("content", ["image,caption\n".encode("utf-16-le"), b"\0" * 100])
def test_bytes_that_are_no_text(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"line 1 holds zero bytes: it is no text, or UTF-16 without"):
        read_text(table(tmp_path, "t.csv", content))


def test_a_cut_utf_16_file_is_an_error(tmp_path: Path) -> None:
    content = codecs.BOM_UTF16_LE + "image,caption".encode("utf-16-le")[:-1]
    with pytest.raises(InputError, match=r"cut short or damaged \(utf-16"):
        read_text(table(tmp_path, "t.csv", content))


def test_json_that_is_nested_too_deeply_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nested too deeply"):
        read_json(table(tmp_path, "t.json", '{"a":' * 200_000))
