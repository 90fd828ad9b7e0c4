"""Conditions on a frame's rows, in the syntax of pandas' `query`, that cannot do anything but compare.

`mac_sparsity >= 0.7 and alpha.family == "cosine"`, `alpha.rate < 3 or control != None`,
`lr.policy in ["cosine", "plateau"]`.

People paste conditions from elsewhere, and pandas evaluates calls, attributes and `@` names of its caller. So nothing
is handed to it: the expression is parsed into Python's syntax tree, and what is computed is what this file spells out.
A dotted name is a column's name and no attribute; backticks round it are allowed.
"""

import ast
import operator
import re
import warnings
from collections.abc import Callable
from functools import reduce
from typing import Any

import pandas as pd

from analysis.columns import column
from analysis.text import printable

LONGEST = 1000

_LOGIC: dict[type[ast.AST], Callable[..., Any]] = {
    **{ast.And: operator.and_, ast.BitAnd: operator.and_, ast.Or: operator.or_, ast.BitOr: operator.or_},
    **{ast.Not: operator.invert, ast.Invert: operator.invert},
}
_ARITHMETIC: dict[type[ast.AST], Callable[..., Any]] = {
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.UAdd: operator.pos, ast.USub: operator.neg},
    **{ast.Mult: operator.mul, ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod},
}
_ORDER = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
_QUOTED_OR_BACKTICKED = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|`([^`]*)`""")


def rows_where(frame: pd.DataFrame, condition: str) -> "pd.Series[bool]":
    """Which rows of `frame` fit the condition; what is unknown (NaN) equals None and nothing else.

    Columns and the index by their names; numbers, texts, True, False, None and lists of them; comparisons, in, and, or,
    not (also &, |, ~) and + - * / // %. Raises ValueError, in one line, for everything else, for unknown columns
    (naming the nearest), and for comparing texts with numbers.
    """
    try:
        return _evaluate_condition(_parse_condition(condition), frame)
    except (RecursionError, MemoryError):
        problem = "it is nested too deeply"
    except SyntaxError as error:
        problem = f"it cannot be read: {error.msg}"
    except (ValueError, TypeError, ArithmeticError) as error:
        problem = printable(str(error))
    raise ValueError(f"where {_quote_expression(condition)}: {problem}")


def _parse_condition(condition: str) -> ast.expr:
    if len(condition) > LONGEST:
        raise ValueError(f"at most {LONGEST} characters are allowed")
    plain = _QUOTED_OR_BACKTICKED.sub(lambda match: match[1] or match[2] or "", condition)
    with warnings.catch_warnings():
        # Python warns of odd escapes and comparisons on stderr; they are values here like any other.
        warnings.simplefilter("ignore")
        return ast.parse(plain.strip(), mode="eval").body


def _evaluate_node(node: ast.expr, frame: pd.DataFrame) -> Any:
    """The node's value: a column of `frame`, or a number, text, truth value or None."""
    op: ast.AST = node
    nodes: list[ast.expr] = []
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return value
        case ast.Name() | ast.Attribute() if re.fullmatch(r"[\w.]+", name := ast.unparse(node)):
            return column(frame, name)
        case ast.Compare(left=left, ops=ops, comparators=rights):
            parts = zip([left, *rights[:-1]], ops, rights, strict=True)
            return reduce(operator.and_, [_evaluate_comparison(*part, frame) for part in parts])
        case ast.BoolOp(op=op, values=nodes):
            return reduce(_LOGIC[type(op)], [_evaluate_condition(part, frame) for part in nodes])
        case ast.BinOp(op=op, left=left, right=right):
            nodes = [left, right]
        case ast.UnaryOp(op=op, operand=operand):
            nodes = [operand]
    if type(op) in _LOGIC:
        return _LOGIC[type(op)](*(_evaluate_condition(part, frame) for part in nodes))
    if type(op) in _ARITHMETIC:
        return _ARITHMETIC[type(op)](*(_evaluate_number(part, frame) for part in nodes))
    raise ValueError(f"{_quote_expression(ast.unparse(node))} is not allowed")


def _evaluate_condition(node: ast.expr, frame: pd.DataFrame) -> "pd.Series[bool]":
    value = _evaluate_node(node, frame)
    if isinstance(value, pd.Series) and _kind_of(value) == "truth value":
        return value
    hint = "is not a condition (write `and`, or put comparisons in parentheses)"
    raise ValueError(f"{_quote_expression(ast.unparse(node))} {hint}")


def _evaluate_number(node: ast.expr, frame: pd.DataFrame) -> Any:
    value = _evaluate_node(node, frame)
    if _kind_of(value) == "number":
        return value
    raise ValueError(f"{_quote_expression(ast.unparse(node))} is not a number")


def _evaluate_comparison(left_node: ast.expr, op: ast.cmpop, right_node: ast.expr, frame: pd.DataFrame) -> Any:
    left = _evaluate_node(left_node, frame)
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(left, pd.Series) or not isinstance(right_node, ast.List | ast.Tuple) or not right_node.elts:
            raise ValueError('`in` takes a column and a list, such as `family in ["cosine", "polynomial"]`')
        equal = reduce(operator.or_, [_compare_equal(left, _evaluate_node(node, frame)) for node in right_node.elts])
        return equal if isinstance(op, ast.In) else ~equal
    right = _evaluate_node(right_node, frame)
    if type(op) in _ORDER:
        _check_kinds(left, right)
        return _ORDER[type(op)](left, right)
    equal = _compare_equal(left, right)
    return ~equal if isinstance(op, ast.NotEq | ast.IsNot) else equal


def _compare_equal(left: Any, right: Any) -> Any:
    """Elementwise equality, in which nothing equals NaN but None, which is how one asks for it."""
    if left is None:
        left, right = right, left
    if right is None and isinstance(left, pd.Series):
        return left.isna()
    _check_kinds(left, right)
    if not isinstance(left, pd.Series) and not isinstance(right, pd.Series):
        raise ValueError("a comparison must name a column")
    return left == right


def _check_kinds(left: Any, right: Any) -> None:
    kinds = {_kind_of(left), _kind_of(right)} - {"mixture"}
    if len(kinds) == 2 and kinds != {"time", "text"}:
        raise ValueError(f"a {_kind_of(left)} cannot be compared with a {_kind_of(right)}")


def _kind_of(value: Any) -> str:
    if not isinstance(value, pd.Series):
        return {bool: "truth value", int: "number", float: "number", str: "text"}.get(type(value), "None")
    of_dtype = {"b": "truth value", "i": "number", "u": "number", "f": "number", "M": "time"}
    return of_dtype.get(value.dtype.kind, "mixture" if value.dtype == object else "text")


def _quote_expression(expression: str) -> str:
    text = printable(expression)
    return f"`{text if len(text) <= 60 else text[:60] + '…'}`"
