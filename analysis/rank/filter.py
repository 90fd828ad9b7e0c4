"""Conditions on a frame's rows, in the syntax of pandas' `query`, that cannot do anything but compare.

`mac_sparsity >= 0.7 and family == "cosine"`, `alpha.rate < 3 or control != None`, `policy in ["cosine", "plateau"]`.

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

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_QUOTED_OR_BACKTICKED = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|`([^`]*)`""")


def rows_where(frame: pd.DataFrame, condition: str) -> "pd.Series[bool]":
    """Which rows of `frame` fit the condition; what is unknown (NaN) equals None and nothing else.

    Columns and the index by their names; numbers, texts, True, False, None and lists of them; comparisons, in, and, or,
    not (also &, |, ~) and + - * / // %. Raises ValueError, in one line, for everything else, for unknown columns
    (naming the nearest), and for comparing texts with numbers.
    """
    try:
        return _evaluate_condition(_parse_condition(condition), frame)
    except RecursionError as error:
        raise ValueError(f"where {_quote_expression(condition)}: it is nested too deeply") from error
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ValueError(f"where {_quote_expression(condition)}: {printable(str(error))}") from error


def _parse_condition(condition: str) -> ast.expr:
    if len(condition) > LONGEST:
        raise ValueError(f"at most {LONGEST} characters are allowed")
    plain = _QUOTED_OR_BACKTICKED.sub(lambda match: match[1] or match[2] or "", condition)
    try:
        with warnings.catch_warnings():
            # Python warns of odd escapes and comparisons on stderr; they are values here like any other.
            warnings.simplefilter("ignore")
            return ast.parse(plain.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"it cannot be read: {error.msg}") from None
    except MemoryError:
        raise ValueError("it is nested too deeply") from None


def _evaluate_node(node: ast.expr, frame: pd.DataFrame) -> Any:
    """The node's value: a column of `frame`, or a number, text, truth value or None."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return value
        case ast.Name() | ast.Attribute():
            return column(frame, _dotted_name(node))
        case ast.UnaryOp(op=ast.Not() | ast.Invert()):
            return ~_evaluate_condition(node.operand, frame)
        case ast.UnaryOp(op=ast.USub()):
            return -_evaluate_number(node.operand, frame)
        case ast.UnaryOp(op=ast.UAdd()):
            return _evaluate_number(node.operand, frame)
        case ast.BoolOp(op=op, values=nodes):
            return reduce(
                operator.and_ if isinstance(op, ast.And) else operator.or_,
                [_evaluate_condition(part, frame) for part in nodes],
            )
        case ast.BinOp(left=left, op=ast.BitAnd(), right=right):
            return _evaluate_condition(left, frame) & _evaluate_condition(right, frame)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _evaluate_condition(left, frame) | _evaluate_condition(right, frame)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _ARITHMETIC[type(op)](_evaluate_number(left, frame), _evaluate_number(right, frame))
        case ast.Compare(left=left, ops=ops, comparators=rights):
            lefts = [left, *rights[:-1]]
            return reduce(
                operator.and_, [_evaluate_comparison(*part, frame) for part in zip(lefts, ops, rights, strict=True)]
            )
    raise ValueError(f"{_quote_expression(ast.unparse(node))} is not allowed")


def _evaluate_comparison(left_node: ast.expr, op: ast.cmpop, right_node: ast.expr, frame: pd.DataFrame) -> Any:
    left = _evaluate_node(left_node, frame)
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(left, pd.Series) or not isinstance(right_node, ast.List | ast.Tuple) or not right_node.elts:
            raise ValueError('`in` takes a column and a list, such as `family in ["cosine", "polynomial"]`')
        found = reduce(operator.or_, [_compare_equal(left, _evaluate_node(node, frame)) for node in right_node.elts])
        return found if isinstance(op, ast.In) else ~found
    right = _evaluate_node(right_node, frame)
    if isinstance(op, ast.Eq | ast.Is):
        return _compare_equal(left, right)
    if isinstance(op, ast.NotEq | ast.IsNot):
        return ~_compare_equal(left, right)
    _check_kinds(left, right)
    return _ORDER[type(op)](left, right)


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


def _evaluate_condition(node: ast.expr, frame: pd.DataFrame) -> "pd.Series[bool]":
    value = _evaluate_node(node, frame)
    if isinstance(value, pd.Series) and _kind_of(value) == "truth value":
        return value
    raise ValueError(
        f"{_quote_expression(ast.unparse(node))} is not a condition (write `and`, or put comparisons in parentheses)"
    )


def _evaluate_number(node: ast.expr, frame: pd.DataFrame) -> Any:
    value = _evaluate_node(node, frame)
    if _kind_of(value) == "number":
        return value
    raise ValueError(f"{_quote_expression(ast.unparse(node))} is not a number")


def _check_kinds(left: Any, right: Any) -> None:
    kinds = {_kind_of(left), _kind_of(right)} - {"mixture"}
    if len(kinds) == 2 and kinds != {"time", "text"}:
        raise ValueError(f"a {_kind_of(left)} cannot be compared with a {_kind_of(right)}")


def _kind_of(value: Any) -> str:
    if not isinstance(value, pd.Series):
        return {bool: "truth value", int: "number", float: "number", str: "text"}.get(type(value), "None")
    if pd.api.types.is_bool_dtype(value.dtype):
        return "truth value"
    if pd.api.types.is_numeric_dtype(value.dtype):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(value.dtype):
        return "time"
    return "mixture" if pd.api.types.is_object_dtype(value.dtype) else "text"


def _dotted_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=owner, attr=name):
            return f"{_dotted_name(owner)}.{name}"
    raise ValueError(f"{_quote_expression(ast.unparse(node))} is not allowed")


def _quote_expression(expression: str) -> str:
    text = printable(expression)
    return f"`{text if len(text) <= 60 else text[:60] + '…'}`"
