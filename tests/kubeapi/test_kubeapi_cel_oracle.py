"""Our evaluator gives what the CEL team's own gives, for every standard operator and function."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from cel_expr_python import cel
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from atoll.kubeapi.cel.program import Budget, Program
from atoll.kubeapi.cel.values import CelError, Optional, TypeValue, Uint
from atoll.kubeapi.cel.wire import read_checked

SELF: dict[str, Any] = {
    "n": 3,
    "x": 1.5,
    "whole": 2.0,
    "s": "bänana",
    "empty": "",
    "yes": True,
    "nothing": None,
    "list": [3, 1, 2],
    "texts": ["b", "a", "b"],
    "map": {"a": 1, "b": 2},
    "pairs": [{"a": 1}, {"b": 2}],  # of one key each: the order of a map's keys is nobody's promise
    "items": [{"name": "x", "port": 80}, {"name": "y", "port": 443}],
}
CONFIG = "extensions: [{name: optional}, {name: strings}, {name: sets}, {name: two-var-comprehensions}]"
ORACLE = cel.NewEnv(config=cel.NewEnvConfigFromYaml(CONFIG), variables={"self": cel.Type.DYN})
FAILED = object()
LIBRARY_NAMES = {
    "null_type": "null",
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
}


def ours(expression: Any) -> Any:
    """Evaluate with our program."""
    try:
        return plain(Program(read_checked(expression.serialize())).evaluate({"self": SELF}, Budget(1_000_000)))
    except CelError:
        return FAILED


def theirs(expression: Any) -> Any:
    """Evaluate with the library."""
    result = expression.eval(data={"self": SELF})
    return FAILED if result.type().name() == "ERROR" else plain(result.plain_value())


def plain(value: Any) -> Any:
    """Return a value in a form in which both sides' values can be compared, types included."""
    if isinstance(value, Uint):
        return ("int", repr(int(value)))
    if isinstance(value, bool | int | float):
        return (type(value).__name__, repr(value))
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {repr(plain(key)): plain(inner) for key, inner in value.items()}
    if isinstance(value, TypeValue):
        return ("type", LIBRARY_NAMES.get(value.name, value.name).lower())
    if isinstance(value, cel.Type):
        return ("type", value.name().lower().partition("<")[0])
    if isinstance(value, bytearray):
        return bytes(value)
    return value


def agree(expression: Any, text: str) -> None:
    """Demand the same value, or an error on both sides."""
    assert ours(expression) == theirs(expression), text


EXPRESSIONS = """
1 + 2 * 3 - 4 / 2 % 3
-7 / 2 == -3 && -7 % 2 == -1 && 7 % -2 == 1
9223372036854775807 + 1 > 0
-9223372036854775807 - 2 < 0
9223372036854775807 * 2 == 0
-(-9223372036854775807 - 1) > 0
1 / 0
1 % 0
1u - 2u
3u * 4u + 1u == 13u
18446744073709551615u + 1u
1.0 / 0.0
-1.0 / 0.0 < 0.0
0.0 / 0.0 == 0.0 / 0.0
1.5 + 2.25 - 0.75 * 2.0
1 < dyn(2.5) && 2.5 > dyn(1u) && 1u <= dyn(1) && 2 >= dyn(1u)
1 == dyn(1.0) && dyn(1u) == dyn(1) && dyn(2.0) != dyn(1)
dyn(1) == dyn('1') || dyn(true) == dyn(1)
'a' < 'b' && b'a' < b'b' && false < true
'é' < 'f'
dyn('a') < dyn(1)
dyn(1) + dyn('a')
[1, 2] + [3] == [1, 2, 3]
'a' + 'b' + self.s
b'a' + b'\\xff' == b'a\\xff'
self.n in self.list && !(4 in self.list)
'a' in self.map && !('z' in self.map)
dyn(1.0) in [1, 2] && dyn('1') in [dyn(1), dyn('1')]
self.list[0] + self.list[2]
self.list[3]
self.list[-1]
dyn(self.list)[1.0] == 1
dyn(self.list)[1.5]
self.map['a'] + self.map.b
self.map['z']
self.map.z
has(self.n) && !has(self.zz) && has(self.map.a) && !has(self.map.z)
has(self.nothing) && self.nothing == null
has(self.n.z)
self == self && self.items != [] && self.map == {'b': 2, 'a': 1}
{'a': [1, {'b': 2.0}]} == {'a': [1.0, {'b': 2}]}
[1, 'a', null, true, 1.5, b'x']
true || self.zz
self.zz || true
self.zz || false
false && self.zz
self.zz && false
self.zz && true
dyn(1) || true
dyn(1) && true
self.yes ? 'a' : self.zz
!self.yes
self.list.all(x, x > 0) && !self.list.all(x, x > 1)
self.list.all(x, 6 / (x - 1) > 0)
self.list.all(x, x > 5 && 6 / (x - 1) > 0)
self.list.exists(x, 6 / (x - 1) > 5)
self.list.exists(x, 6 / (x - 1) > 50)
self.list.exists_one(x, x > 2) && !self.list.exists_one(x, x > 1)
self.list.exists_one(x, 6 / (x - 1) > 2)
self.list.map(x, x * 2)
self.list.map(x, x > 1, [x, x])
self.list.map(x, 6 / (x - 1))
self.list.filter(x, x > 1)
self.list.map(x, self.list.filter(y, y < x).map(y, y * x))
self.items.map(i, i.name + string(i.port))
self.map.all(k, self.map[k] > 0) && self.map.exists(k, k == 'b')
self.map.map(k, k).size()
self.n.all(x, true)
self.list.all(i, v, v > i - 3)
self.map.exists(k, v, k == 'b' && v == 2)
self.list.existsOne(i, v, v == 1)
self.texts.transformList(i, v, string(i) + v)
self.texts.transformList(i, v, i > 0, v)
size(self.s) == 6 && self.list.size() == 3 && size(self.map) == 2 && size(b'abc') == 3
size('')
self.s.contains('nan') && self.s.startsWith('bä') && self.s.endsWith('') && !self.s.contains('x')
self.s.matches('^b.n') && !self.s.matches('^n') && 'a\\nb'.matches('(?s)a.b')
'a'.matches('(')
int('42') + int(3.99) + int(-3.99) + int(7u) + int(timestamp('1970-01-01T00:01:00Z'))
int('4.2')
int('')
int(1e30)
int(0.0 / 0.0)
uint('7') + uint(3) + uint(2.9)
uint(-1)
double('1.5e3') + double(2) + double(3u)
double('x')
string(1) + string(2u) + string(true) + string('s') + string(b'abc')
string(1.0) + ' ' + string(1.5) + ' ' + string(0.1) + ' ' + string(100000.0) + ' ' + string(-0.25)
string(b'\\xff')
bytes('é') == b'é'
bool('yes')
type(1) == int && type(1u) == uint && type(1.0) == double && type('') == string && type(b'') == bytes
type(true) == bool && type(null) == null_type && type([]) == list && type({}) == map && type(type(1)) == type
type(timestamp(0)) == google.protobuf.Timestamp && type(duration('1s')) == google.protobuf.Duration
timestamp('2020-01-01T00:00:00Z') < timestamp('2020-01-02T00:00:00Z')
timestamp('2020-01-01T00:00:00Z') + duration('36h') == timestamp('2020-01-02T12:00:00Z')
timestamp('2020-01-02T00:00:00Z') - timestamp('2020-01-01T00:00:00Z') == duration('24h')
timestamp('2020-01-02T00:00:00Z') - duration('24h') == duration('-24h') + timestamp('2020-01-02T00:00:00Z')
timestamp('9999-12-31T23:59:59Z') + duration('1s')
timestamp('2020-13-01T00:00:00Z')
timestamp('2020-01-01')
duration('1h') + duration('30m') - duration('1s') > duration('1h29m58s')
duration('1 hour')
duration('')
duration('3730s').getHours() * 100 + duration('3730s').getMinutes()
duration('3730.25s').getSeconds()
duration('3730.25s').getMilliseconds()
duration('-3730.25s').getHours()
timestamp('2021-03-04T05:06:07.089Z').getFullYear()
timestamp('2021-03-04T05:06:07.089Z').getMonth() * 100 + timestamp('2021-03-04T05:06:07Z').getDate()
timestamp('2021-03-04T05:06:07Z').getDayOfMonth() * 1000 + timestamp('2021-03-04T05:06:07Z').getDayOfYear()
timestamp('2021-03-07T05:06:07Z').getDayOfWeek()
timestamp('2021-03-04T05:06:07.089Z').getHours() + timestamp('2021-03-04T05:06:07.089Z').getMilliseconds()
timestamp('2021-03-04T23:06:07Z').getDate('Europe/Berlin') * 100 + timestamp('2021-03-04T23:06:07Z').getHours('+02:30')
timestamp('2021-03-04T23:06:07Z').getHours('-08:00')
timestamp('2021-03-04T23:06:07Z').getHours('Nowhere/Land')
optional.of(1).hasValue() && !optional.none().hasValue()
optional.none().value()
optional.of(2).value() + optional.none().orValue(3)
optional.none().or(optional.of(4)).value()
[dyn(0), dyn(''), dyn([]), dyn(null), dyn(false)].exists(x, optional.ofNonZeroValue(x).hasValue())
optional.ofNonZeroValue('a').value()
self.?n.value() + self.?zz.orValue(5)
self.?zz.name.orValue('none') + self.?items[0].name.orValue('')
self.list[?1].value() + self.list[?9].orValue(7)
self.map[?'a'].value() + self.map[?'z'].orValue(7)
optional.of({'a': {'b': 1}}).a.b.value()
optional.of([7])[0].value()
has(optional.of({'a': 1}).a) && !has(optional.of({'a': 1}).b)
optional.of(1) == optional.of(1) && optional.of(1) != optional.none() && optional.none() == optional.none()
self.?n.optMap(x, x * 2).value() + self.?zz.optMap(x, x * 2).orValue(1)
self.?n.optFlatMap(x, self.?zz).hasValue()
[?self.?n, ?self.?zz, 9]
{'a': 1, ?'b': self.?zz, ?'c': self.?n}
'abc'.charAt(1) + 'abc'.charAt(3)
'abc'.charAt(4)
'banana'.indexOf('an') * 100 + 'banana'.indexOf('an', 2) * 10 + 'banana'.indexOf('')
'banana'.indexOf('x')
'banana'.lastIndexOf('an') * 10 + 'banana'.lastIndexOf('an', 2)
['a', 'b'].join() + ['a', 'b'].join('-') + [].join('x')
'AbÇ'.lowerAscii() + 'abç'.upperAscii()
'banana'.replace('an', '-') + 'banana'.replace('an', '-', 1) + 'banana'.replace('', '_') + 'a'.replace('x', 'y')
'banana'.replace('an', '-', 0)
'a,b,c'.split(',') + 'a,b,c'.split(',', 2) + 'abc'.split('') + 'a'.split(',')
'a,b,c'.split(',', 0)
'banana'.substring(2) + 'banana'.substring(2, 4) + 'banana'.substring(6)
'banana'.substring(4, 2)
'banana'.substring(7)
'  a b \\t\\n'.trim() + 'äbc'.reverse()
strings.quote('a "b"\\n\\t\\\\')
'%s %s %s %s'.format(['a', 1, 1.5, true])
'%s %s %s'.format([[1, 'a'], {'b': 1}, null])
'%d %d %x %X %o %b'.format([1, 2u, 255, 255, 8, 5])
'%.2f %.3e %f'.format([1.2345, 12345.678, 2.5])
'%x %X'.format(['abc', b'xyz'])
'100%% %s'.format(['x'])
'%s'.format([])
'%d'.format(['a'])
'%q'.format([1])
'%s %s'.format([timestamp('2020-01-01T00:00:00Z'), duration('90s')])
sets.contains([1, 2, 3], [2, 1.0]) && !sets.contains([1], [1, 2]) && sets.contains([], [])
sets.equivalent([1, 2, 2], [2, 1]) && !sets.equivalent([1], [2])
sets.intersects([1, 2], [2, 3]) && !sets.intersects([1], [2]) && !sets.intersects([], [])
[[1, 2], [3]].all(x, x.exists(y, y in self.list))
"""


@pytest.mark.parametrize("text", [line for line in EXPRESSIONS.splitlines() if line])
def test_a_standard_expression_has_the_value_that_the_library_gives_it(text: str) -> None:
    agree(ORACLE.compile(text), text)


ATOMS = st.sampled_from(
    [
        "1",
        "0",
        "-3",
        "2u",
        "1.5",
        "0.0",
        "2.0",
        "'a'",
        "''",
        "'ab'",
        "true",
        "false",
        "null",
        "[]",
        "[1,2]",
        "['a']",
        "{}",
        "{'a':1}",
        "{'a':{'b':2}}",
        "b'a'",
        "self.n",
        "self.x",
        "self.s",
        "self.yes",
        "self.nothing",
        "self.list",
        "self.pairs",
        "self.zz",
        "v",
        "duration('1s')",
        "timestamp(0)",
        "9223372036854775807",
    ]
)
BINARY = st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in"])
MACROS = st.sampled_from(["all", "exists", "exists_one", "map", "filter"])
UNARY = st.sampled_from(
    [
        "!({})",
        "-({})",
        "size({})",
        "string({})",
        "int(string({}))",
        "uint(string({}))",
        "type({})",
        "({})[0]",
        "({})['a']",
        "({}).a",
        "[{},1]",
        "{{'a':{}}}",
        "({}).?a.orValue(1)",
        "({})[?0].hasValue()",
        "has(({}).a)",
        "optional.of({}).value()",
    ]
)


def wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return expressions made of smaller ones; every literal is `dyn`, so that types meet only when evaluated."""
    return (
        st.builds(lambda left, operator, right: f"(dyn({left}) {operator} dyn({right}))", inner, BINARY, inner)
        | st.builds(lambda shape, part: shape.format(f"dyn({part})"), UNARY, inner)
        | st.builds(lambda over, macro, body: f"dyn({over}).{macro}(v, dyn({body}))", inner, MACROS, inner)
        | st.builds(lambda test, one, other: f"(dyn({test}) ? dyn({one}) : dyn({other}))", inner, inner, inner)
    )


def compiled(text: str) -> Any:
    """Return a checked expression, or None for one that is nested too deeply for the library."""
    try:
        return ORACLE.compile(text)
    except RuntimeError:
        return None


@settings(deadline=None)
@given(st.recursive(ATOMS, wider, max_leaves=8))
def test_any_expression_has_the_value_that_the_library_gives_it(part: str) -> None:
    text = f"[dyn(4), dyn('a')].map(v, dyn({part}))"
    expression = compiled(text)
    assume(expression is not None)
    agree(expression, text)


def test_the_values_of_python_that_stand_for_cel_values_are_those_that_the_library_gives() -> None:
    """Otherwise the comparison above would not see a wrong type."""
    found = ORACLE.compile("[1, 1.0, true, 'a', duration('1s'), timestamp(0)]").eval().plain_value()
    assert [type(value) for value in found] == [int, float, bool, str, timedelta, datetime]
    assert plain(Uint(1)) == plain(1)
    assert TypeValue("int") != Optional()
