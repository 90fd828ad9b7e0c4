import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import Experiment, figures
from analysis.figures.style import (
    CONTROL_COLOURS,
    DARK_COLOURS,
    FAMILY_COLOURS,
    STATE_COLOURS,
    TEMPLATE,
    blank_figure,
    hover_text,
    literal_text,
    sentence_figure,
    shade_colour,
)
from trainable.schedules.alpha import AlphaSchedule

TAG = re.compile(r"<(?!br>)")


@settings(max_examples=25)
@given(st.text())
def test_no_text_can_be_markup(text: str) -> None:
    assert not TAG.search(literal_text(text))
    assert not TAG.search(hover_text([text, "<a href='http://example.org'>here</a>"]))
    assert not TAG.search(blank_figure(text, text).layout.title.text)
    assert not TAG.search(blank_figure(text, text).layout.title.subtitle.text)


def test_what_is_escaped_reads_as_it_was() -> None:
    assert html.unescape(literal_text("a < b & 'c' > d")) == "a < b & 'c' > d"
    assert literal_text("&lt;b&gt;") == "&amp;lt;b&amp;gt;"


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    assert literal_text("<" * 10, 4) == "&lt;&lt;&lt;…"
    assert literal_text("abcd", 4) == "abcd"


def test_a_title_wraps_into_lines_of_about_equal_length() -> None:
    title = blank_figure("one two three four five six seven eight nine ten eleven twelve thirteen").layout.title.text
    lines = title.split("<br>")
    assert [len(line) for line in lines] == [33, 37]


def test_a_number_and_its_unit_are_not_torn_apart() -> None:
    lines = blank_figure("x " * 21 + "93.33 MB y y y y y y y").layout.title.text.split("<br>")
    assert all(not line.startswith("MB") for line in lines)
    assert "93.33\N{NO-BREAK SPACE}MB" in " ".join(lines)


def test_there_is_room_for_every_line_of_the_title() -> None:
    one, many = blank_figure("short"), blank_figure("long " * 60, "note " * 60)
    grown = len(many.layout.title.text.split("<br>")) - 1
    assert many.layout.margin.t - one.layout.margin.t > 15 * grown
    assert many.layout.height - many.layout.margin.t == one.layout.height - one.layout.margin.t


def test_no_figure_has_a_width_of_its_own() -> None:
    for drawn in (blank_figure("title"), sentence_figure("nothing")):
        assert drawn.layout.width is None
        assert drawn.layout.autosize


def test_nothing_can_be_sent_to_a_server() -> None:
    assert "sendChartToCloud" in TEMPLATE.layout.modebar.remove


def test_a_dark_page_has_a_colour_for_all_that_need_a_light_one(full: Experiment) -> None:
    """Greys and the page's white: colours of families and states are seen on both."""
    for name in figures.__all__:
        if name != "CONFIG":
            found = set(re.findall("#[0-9A-Fa-f]{6}", getattr(figures, name)(full).to_json()))
            greys = {colour for colour in found if len({colour[1:3], colour[3:5], colour[5:7]}) == 1}
            assert greys <= {*DARK_COLOURS, STATE_COLOURS["stopped"]}, name
    assert set(CONTROL_COLOURS.values()) <= set(DARK_COLOURS)


def test_every_family_has_a_colour_of_its_own() -> None:
    families = {schedule.family for schedule in AlphaSchedule.__args__[0].__args__} - {"one_shot"}
    assert set(FAMILY_COLOURS) == families
    assert len(set(FAMILY_COLOURS.values())) == len(families)


@pytest.mark.parametrize("colour", FAMILY_COLOURS.values())
def test_shades_begin_at_the_colour_and_differ(colour: str) -> None:
    assert shade_colour(colour, 0, 1) == colour
    shades = [shade_colour(colour, step, 4) for step in range(4)]
    assert shades[0] == colour
    assert len(set(shades)) == 4
    assert all(re.fullmatch("#[0-9A-F]{6}", each) for each in shades)
