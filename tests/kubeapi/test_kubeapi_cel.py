"""Expressions are checked by the schema's types, know Kubernetes' functions, and cost no more than they may."""

import concurrent.futures
import sys
from typing import Any

import pytest

from atoll.kubeapi.cel.checker import Checker, CompileError, Unsupported
from atoll.kubeapi.cel.convert import converter
from atoll.kubeapi.cel.program import Budget, Program
from atoll.kubeapi.cel.types import DYN, declared, escape
from atoll.kubeapi.cel.values import CelError, OutOfBudget

ENOUGH = 1_000_000
TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "n": NUMBER,
        "x": {"type": "number"},
        "s": TEXT,
        "yes": {"type": "boolean"},
        "at": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "span": {"type": "string", "format": "duration"},
        "raw": {"type": "string", "format": "byte"},
        "percent": {"x-kubernetes-int-or-string": True},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"known": TEXT}},
        "anything": {"x-kubernetes-preserve-unknown-fields": True},
        "labels": {"type": "object", "additionalProperties": TEXT},
        "grid": {"type": "array", "items": {"type": "array", "items": NUMBER}},
        "set": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
        "ports": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": TEXT, "port": NUMBER}},
        },
        "template": {
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "properties": {"spec": {"type": "object"}},
        },
        "namespace": TEXT,
        "with-dash": TEXT,
        "with.dot/slash__under": TEXT,
        "true": TEXT,
        "foo_bar": TEXT,
        "fooBar": TEXT,
        "$ref": TEXT,
    },
}
VALUE: dict[str, Any] = {
    "n": 3,
    "x": 2,
    "s": "10.0.0.0/8",
    "yes": True,
    "at": "2026-11-22T12:00:00Z",
    "day": "2026-11-22",
    "span": "1h30m",
    "raw": "aGk=",
    "percent": "50%",
    "free": {"known": "a", "more": 1},
    "labels": {"with-dash": "v", "namespace": "w"},
    "grid": [[1, 2], [3]],
    "set": ["a", "b"],
    "ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}],
    "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {}}},
    "namespace": "ns",
    "with-dash": "d",
    "with.dot/slash__under": "e",
    "true": "t",
    "foo_bar": "1",
    "fooBar": "2",
    "$ref": "3",
}


def checker(**more: Any) -> Checker:
    """Return the checker of the schema."""
    seen = declared(SCHEMA, is_object=True)
    assert seen is not None
    return Checker(seen, **more)


CHECKER = checker()
CONVERT = converter(SCHEMA)


def evaluate(text: str) -> Any:
    """Check and evaluate a rule of the value."""
    assert CONVERT is not None
    identity = {"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "me"}}
    variables = {"self": {**identity, **CONVERT(VALUE)}, "oldSelf": None}
    return Program(CHECKER.check(text, gives="bool")).evaluate(variables, Budget(ENOUGH))


VALUES = """
self.n == 3 && self.x == 2.0 && self.x / 4.0 == 0.5 && self.yes
self.n < 3.5 && self.x > 1 && 2u <= self.n
self.metadata.name == 'me' && self.kind == 'A' && self.apiVersion == 'a/v1'
self.at.getFullYear() == 2026 && self.at > timestamp('2026-01-01T00:00:00Z')
self.day == timestamp('2026-11-22T00:00:00Z')
self.span == duration('90m') && self.span.getMinutes() == 90
self.raw == b'hi' && size(self.raw) == 2
type(self.percent) == string ? self.percent == '50%' : self.percent > 10
self.free.known == 'a'
self.labels['with-dash'] == 'v' && self.labels.namespace == 'w' && self.labels.all(k, self.labels[k] != '')
self.grid[0][1] == 2 && self.grid.all(row, row.all(n, n > 0))
self.template.kind == 'Pod' && self.template.metadata.name == 'p'
self.__namespace__ == 'ns' && self.with__dash__dash == 'd' && self.__true__ == 't'
self.with__dot__dot__slash__slash__underscores__under == 'e'
self.foo_bar == '1' && self.fooBar == '2'
has(self.n) && !has(self.template.spec)
self.ports.map(p, p.port).sum() == 523
self.ports.exists_one(p, p.name == 'http') && self.ports.filter(p, p.port > 100)[0].name == 'https'
self.set + ['b', 'c'] == ['c', 'b', 'a'] && (self.set + ['c']).size() == 3
self.ports + [self.ports[1]] == [self.ports[1], self.ports[0]]
self.?n.orValue(0) == 3 && self.template.?spec.hasValue() == false
self.labels[?'none'].orValue('x') == 'x'
self.labels.transformMap(k, v, k.size() > 3, v + '!')['with-dash'] == 'v!'
self.set.transformMapEntry(i, v, {v: i})['b'] == 1
string(duration('1.5s')) == '1.5s' && string(timestamp('2020-02-29T12:30:00.25Z')) == '2020-02-29T12:30:00.25Z'
bool('T') && !bool('f')
"""
KUBERNETES = """
isCIDR(self.s) && !isCIDR('10.0.0.0') && !isCIDR('10.0.0.0/33') && !isCIDR('10.0.0.0/08') && isCIDR('fd00::/8')
cidr(self.s).containsIP('10.255.0.1') && !cidr(self.s).containsIP(ip('11.0.0.1')) && !cidr(self.s).containsIP('fd00::1')
cidr(self.s).containsCIDR('10.1.0.0/16') && !cidr('10.1.0.0/16').containsCIDR(cidr(self.s))
cidr('10.1.2.3/16').masked() == cidr('10.1.0.0/16') && cidr('10.1.2.3/16') != cidr('10.1.0.0/16')
cidr('10.1.2.3/16').prefixLength() == 16 && cidr('10.1.2.3/16').ip() == ip('10.1.2.3')
string(cidr('10.1.2.3/16')) == '10.1.2.3/16' && string(ip('FD00::0:1')) == 'fd00::1'
isIP('::1') && !isIP('1.2.3') && !isIP('01.2.3.4') && !isIP('fe80::1%eth0') && !isIP('::ffff:1.2.3.4')
ip.isCanonical('fd00::1') && !ip.isCanonical('FD00::1')
ip('127.0.0.1').isLoopback() && ip('0.0.0.0').isUnspecified() && ip('::1').family() == 6
ip('224.0.0.1').isLinkLocalMulticast() && ip('ff02::1').isLinkLocalMulticast() && ip('169.254.1.1').isLinkLocalUnicast()
ip('10.0.0.1').isGlobalUnicast() && !ip('255.255.255.255').isGlobalUnicast() && !ip('fe80::1').isGlobalUnicast()
quantity('1.5Gi').isGreaterThan(quantity('1500M')) && quantity('1k').compareTo(quantity('1000')) == 0
quantity('1k') == quantity('1000') && quantity('100m').isLessThan(quantity('1')) && quantity('-1').sign() == -1
quantity('1Ki').asInteger() == 1024 && quantity('1500m').asApproximateFloat() == 1.5 && !quantity('1m').isInteger()
quantity('1').add(quantity('500m')).sub(1).isLessThan(quantity('1e0')) && quantity('2').add(3) == quantity('5')
isQuantity('1e3') && !isQuantity('1 Gi') && !isQuantity('Gi') && !isQuantity('1gi')
semver('1.2.3-rc.1').isLessThan(semver('1.2.3')) && semver('1.2.10').isGreaterThan(semver('1.2.9'))
semver('1.0.0-alpha').compareTo(semver('1.0.0-alpha.1')) == -1 && semver('1.0.0+a') == semver('1.0.0+b')
semver('v1.02', true) == semver('1.2.0') && !isSemver('v1.2.3') && isSemver('v1.2.3', true) && !isSemver('1.2.03')
semver('4.5.6').major() == 4 && semver('4.5.6').minor() == 5 && semver('4.5.6').patch() == 6
url('https://user@example.com:80/a%20b?x=1&x=2&y=').getHost() == 'example.com:80'
url('https://[::1]:8080/p').getHostname() == '::1' && url('https://[::1]:8080/p').getPort() == '8080'
url('https://h/a%20b?x=1&x=2&y=').getQuery() == {'x': ['1', '2'], 'y': ['']}
url('/a%20b/c').getEscapedPath() == '/a%20b/c' && !isURL('/a b/c')
url('https://h/a').getScheme() == 'https' && isURL('/path') && !isURL('../path') && !isURL('https://a:b:c/')
format.dns1123Label().validate('my') == optional.none() && format.dns1123Label().validate('My').value().size() == 1
format.named('uuid').value().validate('5ae0d5e4-5d0b-4a6f-9a9b-3f4b5c6d7e8f') == optional.none()
!format.named('none').hasValue() && format.qualifiedName().validate('a.b/c_D').hasValue() == false
format.labelValue().validate('').hasValue() == false && format.labelValue().validate('-').hasValue()
format.dns1123LabelPrefix().validate('abc-').hasValue() == false && format.date().validate('2026-02-30').hasValue()
format.uri().validate('http://a').hasValue() == false && format.byte().validate('a').hasValue()
'abc 123 def 45'.find('[0-9]+') == '123' && 'abc'.find('[0-9]+') == ''
'123 abc 45'.findAll('[0-9]+') == ['123', '45'] && '1 2 3'.findAll('[0-9]', 2) == ['1', '2']
[1, 2, 2].isSorted() && !['b', 'a'].isSorted() && [].isSorted() && [1.5, 2.0].sum() == 3.5
[duration('1s'), duration('2s')].sum() == duration('3s') && [3, 1].min() == 1 && ['a', 'b'].max() == 'b'
['a', 'b', 'a'].indexOf('a') == 0 && ['a', 'b', 'a'].lastIndexOf('a') == 2 && [1].indexOf(2) == -1
sets.contains(self.set, ['a']) && sets.intersects(self.set, ['z', 'b']) && sets.equivalent(self.set, ['b', 'a'])
"""


@pytest.mark.parametrize("rule", [line for line in (VALUES + KUBERNETES).splitlines() if line])
def test_a_rule_that_holds_holds(rule: str) -> None:
    assert evaluate(rule) is True


ERRORS = {
    "quantity('1 Gi') == quantity('1')": "quantities must match",
    "quantity('1m').asInteger() == 1": "cannot convert value to integer",
    "ip('1.2.3').family() == 4": "IP Address",
    "cidr('10.0.0.0').prefixLength() == 8": "network address parse error",
    "url('nothing').getHost() == ''": "URL parse error",
    "semver('1').major() == 1": "no semantic version",
    "[1].filter(x, x > 1).min() == 1": "min called on empty list",
    "[dyn(1), dyn('a')].map(x, x).isSorted()": "not of one comparable type",
    "'a'.matches(self.s + '(')": "error parsing regexp: missing )",
    "self.template.spec == self.template.spec": "no such key: spec",
    "self.percent > 10": "no such overload",
    "self.labels['none'] == ''": "no such key: none",
    "9223372036854775807 + self.n > 0": "integer overflow",
    "[9223372036854775807, self.n].sum() > 0": "integer overflow",
    "self.set.transformMapEntry(i, v, {'k': i}).size() == 2": "insert failed: key k already exists",
    "{self.s: 1, self.s: 2}.size() == 2": "duplicate key",
    "timestamp('0001-01-01T00:00:00Z').getHours('-08:00') == 16": "timestamp overflow",
    "timestamp('0001-01-01T00:00:00+10:00') < self.at": "cannot convert",
    "double('1_000') > 1.0": "cannot convert '1_000' to double",
    "self.at + duration('90000000h') > self.at": "timestamp or duration overflow",
}


@pytest.mark.parametrize("rule", ERRORS)
def test_a_rule_without_a_value_says_why(rule: str) -> None:
    with pytest.raises(CelError, match=ERRORS[rule].replace("(", r"\(").replace(")", r"\)")):
        evaluate(rule)


REFUSED = {
    "self.nope == 1": "undefined field 'nope'",
    "self.ports.all(p, p.nope > 1)": "undefined field 'nope'",
    "self.free.more == 1": "undefined field 'more'",
    "self.anything == 1": "undefined field 'anything'",
    "self.namespace == 'a'": "undefined field 'namespace'",
    "self.metadata.labels.size() > 0": "undefined field 'labels'",
    "self.n > 'a'": r"found no matching overload for '_>_' applied to '\(int, string\)'",
    "self.n + self.x > 1.0": r"found no matching overload for '_\+_'",
    "self.n == 1.0": "found no matching overload for '_==_'",
    "self.n": "must evaluate to a bool, not int",
    "self.n >": "Syntax error",
    "nobody > 1": "undeclared reference to 'nobody'",
    "nobody.startsWith('a')": "undeclared reference to 'nobody'",
    "quantity('1').isGreaterThan(1)": "found no matching overload for 'isGreaterThan'",
    "ip('::1').isCanonical": "cannot be the operand of a select|undefined field",
    "self.ports.map(p, p.port).sum() == 'a'": "found no matching overload",
    "self.set.sum() == 1": "found no matching overload for 'sum'",
    "oldSelf.hasValue()": "found no matching overload for 'hasValue'|undeclared reference",
    "": "Syntax error",
}


@pytest.mark.parametrize("rule", REFUSED)
def test_a_rule_that_does_not_fit_the_schema_is_refused_with_the_place(rule: str) -> None:
    with pytest.raises(CompileError, match=REFUSED[rule]):
        CHECKER.check(rule, gives="bool")


@pytest.mark.parametrize(
    "rule",
    ["self.n.isPrime()", "math.greatest(self.n, 2) == 3", "fold(self.set) && self.n > 1", "-(" * 60 + "1" + ")" * 60],
)
def test_a_rule_beyond_this_server_is_told_from_one_that_is_wrong(rule: str) -> None:
    with pytest.raises(Unsupported):
        CHECKER.check(rule, gives="bool")


def test_an_optional_old_value_is_read_as_optional() -> None:
    tree = checker(old_is_optional=True).check("oldSelf.n.orValue(0) == 0 && !oldSelf.hasValue()", gives="bool")
    with pytest.raises(CelError, match="no such overload"):
        Program(tree).evaluate({"self": {}, "oldSelf": {"n": 1}}, Budget(ENOUGH))
    with pytest.raises(CompileError):
        checker(old_is_optional=True).check("oldSelf.n == 0", gives="bool")


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("plain", "plain"),
        ("namespace", "__namespace__"),
        ("x-y.z/w", "x__dash__y__dot__z__slash__w"),
        ("a__b", "a__underscores__b"),
        ("_a", "_a"),
        ("int", "int"),
        ("1a", None),
        ("a b", None),
        ("$ref", None),
    ],
)
def test_property_names_are_escaped_as_kubernetes_does(name: str, escaped: str | None) -> None:
    assert escape(name) == escaped


MANY, LONG = list(range(1000)), "a" * 1_000_000
HOSTILE = {
    "self.l.all(a, self.l.all(b, self.l.all(c, a + b + c >= 0)))": "three nested loops",
    "self.l.map(a, self.l.map(b, a)).size() > 0": "a result of a million items",
    "self.l.all(x, (self.s + self.s).contains('y') == false)": "a thousand copies of a long text",
    "self.l.all(x, !self.s.matches('(a+)+b'))": "a pattern that backtracks elsewhere",
    "self.s.replace('', self.s).size() > 0": "a text of a terabyte",
    "self.l.all(x, self.s.findAll('a').size() > 0)": "a billion matches",
    "self.l.all(x, self.l == self.l && sets.equivalent(self.l, self.l))": "comparisons without end",
    "self.l.all(x, self.l.all(y, quantity('1k').isGreaterThan(quantity('1'))))": "a million quantities",
    "self.l.all(x, self.l.all(y, '%s'.format([self.l]) != ''))": "a million long texts",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("rule", HOSTILE)
def test_a_hostile_rule_ends_at_its_budget(rule: str) -> None:
    program = Program(Checker(DYN).check(rule, gives="bool"))
    budget = Budget(ENOUGH)
    with pytest.raises(OutOfBudget):
        program.evaluate({"self": {"l": MANY, "s": LONG}}, budget)
    assert budget.left == 0


def test_what_is_left_of_a_budget_limits_the_next_rule() -> None:
    program = Program(Checker(DYN).check("self.all(x, x >= 0)", gives="bool"))
    budget = Budget(30)
    with pytest.raises(OutOfBudget):
        program.evaluate({"self": MANY}, budget)
    assert budget.left == 0


def test_values_that_are_nested_too_deeply_are_an_error_and_not_a_crash() -> None:
    deep: list[Any] = []
    for _ in range(2 * sys.getrecursionlimit()):
        deep = [deep]
    with pytest.raises(CelError, match="nested too deeply"):
        Program(Checker(DYN).check("self == self", gives="bool")).evaluate({"self": deep}, Budget(ENOUGH))


def test_one_program_serves_many_threads() -> None:
    program = Program(Checker(DYN).check("self.all(x, self.exists(y, y == x))", gives="bool"))

    def ask(size: int) -> Any:
        return program.evaluate({"self": list(range(size))}, Budget(ENOUGH))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, [5, 10, 20, 40] * 50)) == [True] * 200
