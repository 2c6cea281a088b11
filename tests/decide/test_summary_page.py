"""The page of a run over folders: right numbers, bounded, and nothing that foreign text can make it do."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tagger_daemon.model import Draft, Fingerprint, Origin, Outcome, Photo, Record, Stage
from tagger_daemon.reports.batch import HIGHLIGHTS_A_FOLDER, MOST_FOLDERS, render_batch
from tagger_daemon.reports.wording import MOST_REASONS, NAMES_SHOWN

NOW = "2025-03-14 23:55:00+01:00"
ROOT = Path("/photos")
ORIGIN = Origin(
    entry="small",
    model="small-vl",
    digest=None,
    registry="r1",
    profile="default",
    profile_hash="p1",
    endpoint="http://127.0.0.1:8000/v1",
    prompt_tokens=700,
    completion_tokens=30,
    seconds=1.5,
)
READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def a_record(name: str = "a.jpg", outcome: Outcome = Outcome.WRITTEN, **changes: object) -> Record:
    written = outcome is Outcome.WRITTEN
    record = Record(
        id=name,
        photo=Photo(path=ROOT / name, folder=ROOT, fingerprint=Fingerprint(size=1, mtime_ns=2, inode=3)),
        outcome=outcome,
        finished_at="2025-03-14T10:00:00.000+01:00",
        title="A dog" if written else None,
        keywords=("dog", "beach") if written else (),
        description="A dog runs. It is wet." if written else None,
        origins={Stage.CAPTION: ORIGIN} if written else {},
    )
    return record.evolve(**changes)


def page_of(*records: Record, inputs: tuple[Path, ...] = (ROOT,), **said: bool) -> str:
    return render_batch(iter(records), inputs=inputs, now=NOW, **said)


def section(page: str, title: str) -> str:
    found = re.search(rf"^## {title}\n\n(.*?)(?=\n\n|\n\Z)", page, re.DOTALL | re.MULTILINE)
    assert found, f"no section {title}"
    return found[1]


def test_a_run_in_numbers() -> None:
    page = page_of(
        a_record("2025/a.jpg"),
        a_record("2025/b.jpg", origins=dict.fromkeys(Stage, ORIGIN.evolve(seconds=2.5))),
        a_record("2024/c.jpg", Outcome.PROPOSED, answers=Draft(caption="A cat")),
        a_record("2024/d.jpg", Outcome.SKIPPED, reason="a person has tagged it"),
        a_record("2024/e.jpg", Outcome.FAILED, reason="the file is empty"),
        inputs=(ROOT / "2024", ROOT / "2025"),
    )

    assert page.startswith(f"# Personal Tagger Summary\n\nGenerated: {NOW}\n\n## Inputs\n")
    assert section(page, "Inputs") == "- /photos/2024\n- /photos/2025"
    assert "5 photos finished: 2 got new metadata, 1 needed none, 1 got proposals, and 1 failed." in page
    assert "| proposed | 1 |" in section(page, "Totals")
    assert section(page, "Stages").splitlines()[2:] == [
        "| caption | 2 | 2.0 | 1400 | 60 |",
        "| keywords | 1 | 2.5 | 700 | 30 |",
        "| description | 1 | 2.5 | 700 | 30 |",
    ]
    assert section(page, "Folders").splitlines() == [
        "| Folder | Photos | Written | Unchanged | Proposed | Skipped | Failed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| /photos/2024 | 3 | 0 | 0 | 1 | 1 | 1 |",
        "| /photos/2025 | 2 | 2 | 0 | 0 | 0 | 0 |",
    ]
    assert section(page, "Highlights").splitlines() == [
        "- /photos/2024 (1 photo with words)",
        "  - **c.jpg**: A cat",
        "- /photos/2025 (2 photos with words)",
        "  - **a.jpg**: A dog",
        "    - Keywords: dog, beach",
        "    - Description: A dog runs.",
        "  - **b.jpg**: A dog",
        "    - Keywords: dog, beach",
        "    - Description: A dog runs.",
    ]
    assert section(page, "Failures") == "- 1 photo: the file is empty\n  - /photos/2024/e.jpg"
    assert section(page, "Skipped") == "- 1 photo: a person has tagged it"


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_its_place(outcome: Outcome) -> None:
    page = page_of(a_record(outcome=outcome))

    assert f"| {outcome.value} | 1 |" in section(page, "Totals")
    assert outcome.value.capitalize() in section(page, "Folders")


def test_what_kind_of_run_it_was_is_said_first() -> None:
    said = {
        (dry, bare): [
            line for line in page_of(dry_run=dry, no_meta=bare).splitlines() if line.startswith("*")
        ]
        for dry in (False, True)
        for bare in (False, True)
    }

    assert {key: len(lines) for key, lines in said.items()} == {
        (False, False): 0,
        (True, False): 1,
        (False, True): 1,
        (True, True): 2,
    }
    assert said[True, True] == [*said[True, False], *said[False, True]]


def test_a_run_without_photos_says_so() -> None:
    page = page_of()

    assert "No photo there was finished yet." in page
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == ["Inputs"]


def test_highlights_do_not_depend_on_the_order_of_the_records() -> None:
    records = [a_record(f"{number}.jpg") for number in range(30)]

    page = page_of(*records)

    assert page == page_of(*reversed(records))
    assert section(page, "Highlights").count("**") == 2 * HIGHLIGHTS_A_FOLDER


def test_failures_of_one_reason_stand_together_and_are_counted() -> None:
    records = [a_record(f"{number:03}.jpg", Outcome.FAILED, reason="torn") for number in range(25)]
    records += [a_record("x.jpg", Outcome.FAILED, reason="empty")]

    lines = section(page_of(*records), "Failures").splitlines()

    assert lines[0] == "- 25 photos: torn"
    assert lines[NAMES_SHOWN + 1] == f"  - and {25 - NAMES_SHOWN} more"
    assert lines[NAMES_SHOWN + 2 :] == ["- 1 photo: empty", "  - /photos/x.jpg"]


class Text(str):
    """A long text that is counted for as long as anybody holds it."""

    alive = 0
    most = 0

    def __new__(cls, text: str) -> Self:
        cls.alive += 1
        cls.most = max(cls.most, cls.alive)
        return super().__new__(cls, f"{text}. {'x' * 5000}")

    def __del__(self) -> None:
        type(self).alive -= 1


def many(count: int) -> Iterator[Record]:
    """Yield photos in ever other folders; every fifth failed for a reason of its own."""
    for number in range(count):
        name, text = f"{number // 10}/{number}.jpg", Text(str(number))
        if number % 5 == 0:
            yield a_record(name, Outcome.FAILED, reason=text)
        else:
            yield a_record(name, title=text, description=text)


def test_a_hundred_thousand_photos_make_a_small_page_and_are_looked_at_one_by_one() -> None:
    count = 100_000
    Text.most = Text.alive

    page = render_batch(many(count), inputs=[ROOT], now=NOW)

    assert Text.most <= 3  # the one that is looked at, the next, and the loop's
    assert len(page) < 500_000
    rows = section(page, "Folders").splitlines()[2:]
    assert len(rows) == MOST_FOLDERS + 1
    others = count - 10 * MOST_FOLDERS
    assert rows[-1] == f"| all other folders | {others} | {others * 4 // 5} | 0 | 0 | {others // 5} |"
    failures = section(page, "Failures").splitlines()
    assert failures[-1] == f"- and {count // 5 - MOST_REASONS} more, for other reasons: the audit has each"
    assert section(page, "Highlights").count("  - **") == MOST_FOLDERS * HIGHLIGHTS_A_FOLDER


def test_what_is_kept_of_four_times_the_photos_takes_no_more_memory() -> None:
    def kept(count: int) -> int:
        """Return the bytes that the page's maker holds once it has seen all photos."""
        held: list[int] = []

        def then_look() -> Iterator[Record]:
            yield from many(count)
            snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/reports/*.py")])
            held.append(sum(trace.size for trace in snapshot.traces))

        tracemalloc.start()
        try:
            render_batch(then_look(), inputs=[ROOT], now=NOW)
        finally:
            tracemalloc.stop()
        return held[0]

    assert kept(400) < kept(4_000)  # it is measured
    assert kept(16_000) - kept(4_000) < 64 << 10  # 5 bytes for each photo


# --- Foreign text ---

HOSTILE = [
    "[link](https://example.com)",
    "![picture](https://example.com/a.png)",
    "<https://example.com> and www.example.com and a@example.com",
    "<script>alert(1)</script><img src=x onerror=y>&lt;b&gt;&amp;",
    "a | b | c",
    "`code` and ``more`` and ```\nfence\n```",
    "first\n\n# heading\n\n- list\n\n> quote\n\n***\n\n    code",
    "\r\n| a | b |\r\n|---|---|\r\n| c | d |\r\n",
    "ends with a backslash \\",
    "**bold** __bold__ *em* _em_ ~~gone~~ $x$ ~sub~",
    "abc\u202egpj.exe\u2066x\u2069",
    "a\x00b\x1b[31mc\u2028d\u2029e",
    "[ref]: https://example.com 'x'",
    "[^1]: note",
    "1. x",
    "# x #",
    "- [ ] x",
    "half a \ud83d pair",
    "&#58;//&colon;&#x3c;",
]


def hostile_page(text: str) -> str:
    """Return a page on which a text stands wherever foreign text can."""
    name = text.replace("/", "\u2215").replace("\x00", "").strip() or "x"
    origin = ORIGIN.evolve(entry=text, model=text, profile=text)
    said: dict[str, Any] = {"title": text, "keywords": (text, "dog"), "description": text}
    answers = Draft(caption=text, keywords=(text, "dog"), description=text)
    return render_batch(
        [
            a_record(f"{name}/{name}", origins=dict.fromkeys(Stage, origin), **said),
            a_record(f"{name}/p{name}", Outcome.PROPOSED, answers=answers),
            a_record(f"{name}/f{name}", Outcome.FAILED, reason=text),
            a_record(f"{name}/s{name}", Outcome.SKIPPED, reason=text),
        ],
        inputs=[ROOT / name],
        now=text,
    )


def structure(page: str) -> list[tuple[str, str, int]]:
    """Return what a reader makes of a page, without the words in it."""
    return [
        (token.type, token.tag, token.nesting)
        for block in READER.parse(page)
        for token in (block, *(block.children or ()))
        if token.type != "text"
    ]


HARMLESS = structure(hostile_page("harmless"))


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_is_shown_and_never_obeyed(text: str) -> None:
    page = hostile_page(text)

    assert structure(page) == HARMLESS
    assert not re.search(r"https?://|www\.|\w@\w", page)  # no reader makes a link of a bare address
    assert not set(page) & {"\u202e", "\u2066", "\u2069", "\x00", "\x1b", "\u2028", "\u2029"}
    page.encode("utf-8")


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("ab 1.\n\\`*_[](){}<>!|~$#+-=&;:/@'\"\t\u202e\u00a0é"), min_size=1))
def test_no_text_changes_how_the_page_is_built(text: str) -> None:
    assert structure(hostile_page(f"x{text}x")) == HARMLESS


class Words(HTMLParser):
    """Gathers the text that a browser would show."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def handle_data(self, data: str) -> None:
        self.said.append(data)


@pytest.mark.parametrize("text", ["a | b", "**x** _y_ `z` [l](u)", "<b>&lt;</b> &amp; 100 %", "C:\\photos\\"])
def test_the_reader_sees_foreign_text_letter_by_letter(text: str) -> None:
    words = Words()
    words.feed(READER.render(page_of(a_record(title=text), a_record("b.jpg", Outcome.FAILED, reason=text))))

    shown = "".join(words.said)

    assert f"a.jpg: {text}" in shown
    assert f"1 photo: {text}" in shown


def test_the_reader_of_these_tests_would_see_what_is_obeyed() -> None:
    def kinds(tokens: list[Token]) -> set[str]:
        return {token.type for block in tokens for token in (block, *(block.children or ()))}

    obeyed = kinds(READER.parse("- [a](b) `c` <i>d</i> ~~e~~\n\n<p>\n\n| a |\n|---|\n| b |\n"))

    assert {"link_open", "code_inline", "html_inline", "s_open", "html_block", "table_open"} <= obeyed
