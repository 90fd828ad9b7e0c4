import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.rank.filter import LONGEST, rows_where

FRAME = pd.DataFrame(
    {
        "mac_sparsity": [0.5, 0.7, 0.9, math.nan],
        "macs": [500, 300, 100, 900],
        "family": ["cosine", "exponential", "polynomial", "cosine"],
        "control": pd.Series(["one_shot", None, None, None], dtype="str"),
        "alpha.rate": [math.nan, 3.0, 2.0, math.nan],
        "created": pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03", None], utc=True),
        "flip": [True, False, True, False],
        "mixed": [1, "a", None, 2],
    }
).rename_axis("number")


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("mac_sparsity >= 0.7", [1, 2]),
        ('mac_sparsity >= 0.7 and family == "polynomial"', [2]),
        ('family == "cosine" or macs < 200', [0, 2, 3]),
        ('(family == "cosine") | (macs < 200)', [0, 2, 3]),
        ("(macs > 100) & ~flip", [1, 3]),
        ("not macs > 200", [2]),
        ("0.5 < mac_sparsity <= 0.9", [1, 2]),
        ("mac_sparsity != 0.5", [1, 2, 3]),
        ("alpha.rate > 2", [1]),
        ("`alpha.rate` > 2", [1]),
        ("`macs` / 100 - 1 == +2 * 2", [0]),
        ("macs % 200 == 100 and macs // 100 > -(-2)", [0, 1, 3]),
        ('family in ["cosine", "one_shot"]', [0, 3]),
        ('family not in ("cosine", "polynomial")', [1]),
        ("number in [0, 2]", [0, 2]),
        ("number == 3", [3]),
        ("control == None", [1, 2, 3]),
        ("None != control", [0]),
        ("control is not None", [0]),
        ("mac_sparsity is None", [3]),
        ("control in [None]", [1, 2, 3]),
        ('control != "one_shot"', [1, 2, 3]),
        ('created >= "2026-01-02"', [1, 2]),
        ("flip == True", [0, 2]),
        ("flip", [0, 2]),
        ("macs is 300", [1]),
        ('family == "\\d"', []),
        ("mixed == 1", [0]),
        ("mac_sparsity / 0 > 1", [0, 1, 2]),
        (" macs > 0\n", [0, 1, 2, 3]),
        ("family == \"a`b\" or family == '`'", []),
        ('"cosine" == family', [0, 3]),
        ("not " * 100 + "macs > 200", [0, 1, 3]),
    ],
)
@pytest.mark.filterwarnings("error")
def test_the_rows_that_fit(condition: str, rows: list[int]) -> None:
    assert FRAME.index[rows_where(FRAME, condition)].tolist() == rows


@pytest.mark.parametrize(
    "condition",
    [
        "mac_sparsity >= 0.7 and family == 'polynomial' or macs == 500",
        "not (macs > 200 and mac_sparsity < 0.6)",
        "family in ['cosine'] and macs * 2 - 1 > 3",
        "100 < macs < 600 and family != 'cosine'",
    ],
)
def test_it_agrees_with_pandas(condition: str) -> None:
    expected = FRAME.query(condition, engine="python").index.tolist()
    assert FRAME.index[rows_where(FRAME, condition)].tolist() == expected


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("mac_sparcity > 0.7", "there is no column 'mac_sparcity'; did you mean 'mac_sparsity'?"),
        ("rate > 2", "there is no column 'rate'; did you mean 'alpha.rate'?"),
        ("zzz > 1", "there is no column 'zzz'; there are: number, mac_sparsity, macs, family"),
        ("macs = 3", "it cannot be read: "),
        ("", "it cannot be read: "),
        ("macs > 1; macs > 2", "it cannot be read: "),
        ("macs", "`macs` is not a condition"),
        ("1 < 2", "`1 < 2` is not a condition"),
        ("1 == 1", "a comparison must name a column"),
        ("True", "`True` is not a condition"),
        ("macs and flip", "`macs` is not a condition"),
        ("macs > 1 & flip", "`1` is not a condition (write `and`, or put comparisons in parentheses)"),
        ("macs > 'a'", "a number cannot be compared with a text"),
        ("family == 3", "a text cannot be compared with a number"),
        ("family == flip", "a text cannot be compared with a truth value"),
        ("family in [1]", "a text cannot be compared with a number"),
        ("family < None", "a text cannot be compared with a None"),
        ("family in 'cosine'", "`in` takes a column and a list"),
        ("'a' in ['a']", "`in` takes a column and a list"),
        ("family in []", "`in` takes a column and a list"),
        ("family in [[1]]", "`[1]` is not allowed"),
        ("family is 'cosine' is macs", "a text cannot be compared with a number"),
        ("family * 1000000000 == 'a'", "`family` is not a number"),
        ("'a' * 10000000000 == family", "`'a'` is not a number"),
        ("9 ** 9 ** 9 > macs", "`9 ** 9 ** 9` is not allowed"),
        ("macs << 9999999999 > 1", "is not allowed"),
        ("macs > 1 / 0", "division by zero"),
        ("created > 'soon'", "Invalid comparison"),
        ("mixed < 2", "'<' not supported between instances of"),
        ("(" * 300 + "macs > 1" + ")" * 300, "it cannot be read: too many nested parentheses"),
        ("-" * 900 + "macs > 1", "it is nested too deeply"),
        ("macs > " + "1" * LONGEST, f"at most {LONGEST} characters are allowed"),
        ("macs > 1 or\x1b[31m family", "it cannot be read"),
    ],
)
def test_what_is_no_condition_is_a_value_error_of_one_line(condition: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"^where `") as caught:
        rows_where(FRAME, condition)
    assert why in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "condition",
    [
        "__import__('os').system('true') == 0",
        "`__import__('os').system('true')` == 0",
        "@pd.io.common.os.system('true') == 0",
        "macs.__class__.__mro__[1].__subclasses__() == 1",
        "macs.values.dtype == 1",
        "macs.max() > 1",
        "().__class__ == 1",
        "family.str.len() > 3",
        "(lambda: True)()",
        "[x for x in macs]",
        "{'a': macs}['a'] > 1",
        "macs[0] > 1",
        "f'{macs}' == '1'",
        "(x := macs) > 1",
        "macs > 1 if flip else flip",
        "print(macs) == None",
        "family == b'cosine'",
        "macs > 1j",
        "macs == ...",
        "*macs,",
        "await macs",
    ],
)
def test_nothing_but_comparing_is_possible(condition: str) -> None:
    with pytest.raises(ValueError, match=r"is not allowed|there is no column|cannot be read"):
        rows_where(FRAME, condition)


words = st.sampled_from(
    [
        *FRAME.columns,
        "number",
        *"()[]+-*/%<>=!~&|,.`'\"@ 0123456789",
        "and",
        "or",
        "not",
        "in",
        "is",
        "None",
        "True",
        "lambda",
    ]
)


@settings(max_examples=200)
@given(st.lists(words, max_size=12).map(" ".join) | st.text(max_size=30))
def test_any_text_is_a_condition_or_a_value_error(condition: str) -> None:
    try:
        fitting = rows_where(FRAME, condition)
    except ValueError as error:
        message = str(error)
    else:
        message = ""
        assert fitting.dtype == bool
        assert fitting.index.equals(FRAME.index)
    assert message.isprintable()
