"""The rules of a definition judge its objects at every level, on every write, and say what is broken and where."""

import asyncio
import copy
from typing import Any

import pytest
import yaml

from atoll.kubeapi.crd import CRD
from atoll.kubeapi.custom_resources import CustomResources
from atoll.kubeapi.errors import Invalid
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.resource import ResourceType
from atoll.kubeapi.schema_strategy import SchemaStrategy
from atoll.kubeapi.store import Store
from kubeapi.conftest import Kubectl
from kubeapi.test_kubeapi_custom_resources import DEFINITION, condition, running, telescope

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
RULES = "x-kubernetes-validations"
PATH = "spec.versions[0].schema.openAPIV3Schema"


def strategy(spec: dict[str, Any], *rules: dict[str, Any]) -> SchemaStrategy:
    """Return the strategy of an object with a spec, and with rules of its own."""
    return SchemaStrategy({"type": "object", "properties": {"spec": spec}, RULES: list(rules)})


def broken(judge: SchemaStrategy, spec: Any, old: Any = None) -> list[tuple[str, str]]:
    """Return field and message of everything that is wrong with an object."""
    obj = {"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "me"}, "spec": copy.deepcopy(spec)}
    before = None if old is None else {**obj, "spec": copy.deepcopy(old)}
    return [(cause.field, cause.message) for cause in judge.prepare(obj, before).causes]


def test_rules_at_every_level_are_all_reported_with_their_paths() -> None:
    port = {"type": "object", "properties": {"from": NUMBER, "to": NUMBER}, RULES: [{"rule": "self.from <= self.to"}]}
    quota = {"type": "integer", RULES: [{"rule": "self > 0", "message": "must be positive"}]}
    spec = {
        "type": "object",
        "properties": {
            "ports": {"type": "array", "items": port, RULES: [{"rule": "self.size() < 3", "message": "too many"}]},
            "quotas": {"type": "object", "additionalProperties": quota},
            "with-dash": {"type": "string", RULES: [{"rule": "self != 'x'", "message": "not x"}]},
        },
    }
    judge = strategy(spec, {"rule": "self.metadata.name != 'me'", "message": " not me\n"})
    ports = [{"from": 1, "to": 2}, {"from": 3, "to": 2}, {"from": 4, "to": 4}]
    assert broken(judge, {"ports": ports, "quotas": {"a": 1, "b": 0}, "with-dash": "x"}) == [
        ("<nil>", "Invalid value: not me"),
        ("spec.ports", "Invalid value: too many"),
        ("spec.ports[1]", "Invalid value: failed rule: self.from <= self.to"),
        ("spec.quotas[b]", "Invalid value: must be positive"),
        ("spec.with-dash", "Invalid value: not x"),
    ]


def test_a_rule_may_name_its_reason_its_field_and_compute_its_message() -> None:
    spec = {
        "type": "object",
        "properties": {
            "min": NUMBER,
            "max": NUMBER,
            "a.b": {"type": "object", "properties": {"c": TEXT}},
            "map": {"type": "object", "additionalProperties": TEXT},
        },
        RULES: [
            {
                "rule": "self.min < self.max",
                "messageExpression": "'min %d is not below %d'.format([self.min, self.max])",
            },
            {"rule": "has(self.map)", "fieldPath": ".map", "reason": "FieldValueRequired", "message": "give a map"},
            {"rule": "false", "fieldPath": ".map['k']", "reason": "FieldValueForbidden", "message": "no k"},
            {"rule": "false", "fieldPath": "['a.b'].c", "reason": "FieldValueDuplicate", "message": "twice"},
            {"rule": "false", "message": "fixed", "messageExpression": "string(1 / (self.min - self.min))"},
            {"rule": "false", "message": "one line", "messageExpression": "'two\\nlines'"},
            {"rule": "1 / (self.min - 3) > 0", "message": "cannot be known"},
        ],
    }
    judge = strategy(spec)
    found = judge.prepare({"metadata": {}, "spec": {"min": 3, "max": 2}}, None).causes
    assert [(cause.field, cause.message, cause.reason) for cause in found] == [
        ("spec", "Invalid value: min 3 is not below 2", "FieldValueInvalid"),
        ("spec.map", "Required value: give a map", "FieldValueRequired"),
        ("spec.map[k]", "Forbidden: no k", "FieldValueForbidden"),
        ("spec.a.b.c", "Duplicate value: twice", "FieldValueDuplicate"),
        ("spec", "Invalid value: fixed", "FieldValueInvalid"),
        ("spec", "Invalid value: one line", "FieldValueInvalid"),
        ("spec", "Invalid value: division by zero evaluating rule: cannot be known", "FieldValueInvalid"),
    ]


def test_rules_wait_until_the_object_has_the_shape_of_its_schema() -> None:
    spec = {"type": "object", "properties": {"n": {**NUMBER, "maximum": 5}}, RULES: [{"rule": "self.n > 1"}]}
    waiting = "Invalid value: null: some validation rules were not checked because the object was invalid; "
    found = broken(strategy(spec), {"n": "a"})
    assert [field for field, _ in found] == ["spec.n", "<nil>"]
    assert found[1][1].startswith(waiting)
    assert [field for field, _ in broken(strategy(spec), {"n": 9})] == ["spec.n"]  # too large, and larger than 1
    assert broken(strategy(spec), {"n": 2}) == []


def test_a_name_is_held_to_the_pattern_and_the_rules_of_its_schema() -> None:
    name = {"type": "string", "pattern": "^t", RULES: [{"rule": "self.size() > 2", "message": "too short"}]}
    metadata = {
        "type": "object",
        "properties": {"name": name},
        RULES: [{"rule": "self.name != 'two'", "message": "not two"}],
    }
    judge = SchemaStrategy({"type": "object", "properties": {"metadata": metadata}})

    def faults(name: str) -> list[tuple[str, str]]:
        obj = {"apiVersion": "a/v1", "kind": "A", "metadata": {"name": name, "labels": {"a": "b"}}}
        return [(cause.field, cause.message) for cause in judge.prepare(obj, None).causes]

    assert faults("three") == []
    assert faults("two") == [("metadata", "Invalid value: not two")]
    assert [field for field, _ in faults("on")] == ["metadata.name", "metadata.name"]  # the pattern, and the rule


def test_rules_see_defaults() -> None:
    spec = {"type": "object", "properties": {"n": {**NUMBER, "default": 3}}, RULES: [{"rule": "self.n == 3"}]}
    assert broken(strategy(spec), {}) == []
    assert [field for field, _ in broken(strategy(spec), {"n": 4})] == ["spec"]


KEYED = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "items": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": TEXT, "size": {"type": "integer", RULES: [{"rule": "self >= oldSelf"}]}},
    },
}


def test_transition_rules_compare_with_the_old_value_of_the_same_place() -> None:
    spec = {
        "type": "object",
        "properties": {
            "disks": KEYED,
            "class": {"type": "string", RULES: [{"rule": "self == oldSelf", "message": "is immutable"}]},
            "quotas": {
                "type": "object",
                "additionalProperties": {"type": "integer", RULES: [{"rule": "self >= oldSelf"}]},
            },
        },
    }
    judge = strategy(spec)
    old = {"class": "a", "disks": [{"name": "x", "size": 5}, {"name": "y", "size": 5}], "quotas": {"q": 2}}
    new = {"class": "b", "disks": [{"name": "y", "size": 4}, {"name": "z", "size": 1}, {"name": "x", "size": 6}]}
    assert broken(judge, old) == []
    assert broken(judge, {**new, "quotas": {"q": 1, "r": 0}}, old) == [
        ("spec.disks[0].size", "Invalid value: failed rule: self >= oldSelf"),
        ("spec.class", "Invalid value: is immutable"),
        ("spec.quotas[q]", "Invalid value: failed rule: self >= oldSelf"),
    ]
    assert broken(judge, {"disks": []}, old) == []  # what is gone has no rule to ask
    assert broken(judge, {"class": "b"}, {"disks": []}) == []  # nor has what was not there


def test_a_rule_with_an_optional_old_value_is_asked_on_create_too() -> None:
    rule = {"rule": "oldSelf.hasValue() ? self >= oldSelf.value() : self == 1", "optionalOldSelf": True}
    judge = strategy({"type": "object", "properties": {"n": {"type": "integer", RULES: [rule]}}})
    assert broken(judge, {"n": 1}) == broken(judge, {"n": 5}, {"n": 4}) == broken(judge, {"n": 1}, {}) == []
    assert [field for field, _ in broken(judge, {"n": 2})] == ["spec.n"]
    assert [field for field, _ in broken(judge, {"n": 3}, {"n": 4})] == ["spec.n"]


def test_lists_of_type_set_and_map_are_equal_in_any_order() -> None:
    same = [{"rule": "self == oldSelf", "message": "changed"}]
    spec = {
        "type": "object",
        "properties": {
            "set": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set", RULES: same},
            "disks": {**KEYED, RULES: same},
            "list": {"type": "array", "items": TEXT, RULES: same},
        },
    }
    old = {"set": ["a", "b"], "disks": [{"name": "x"}, {"name": "y"}], "list": ["a", "b"]}
    turned = {name: list(reversed(items)) for name, items in old.items()}
    assert broken(strategy(spec), turned, old) == [("spec.list", "Invalid value: changed")]
    assert [field for field, _ in broken(strategy(spec), {**old, "set": ["a", "c"]}, old)] == ["spec.set"]


def test_null_and_embedded_objects_are_judged_as_kubernetes_judges_them() -> None:
    pod = {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "x-kubernetes-preserve-unknown-fields": True,
        RULES: [{"rule": "self.kind == 'Pod' && self.metadata.name.startsWith('p')"}],
    }
    maybe = {"type": "string", "nullable": True, RULES: [{"rule": "self != ''"}]}
    judge = strategy({"type": "object", "properties": {"pod": pod, "maybe": maybe}})
    assert broken(judge, {"maybe": None, "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}}) == []
    other = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "p"}}
    assert [field for field, _ in broken(judge, {"pod": other, "maybe": ""})] == ["spec.pod", "spec.maybe"]


def test_an_instant_that_is_none_breaks_the_rule_that_reads_it_only() -> None:
    rules = [{"rule": "self.at > timestamp('2020-01-01T00:00:00Z')"}, {"rule": "has(self.at)"}]
    spec = {"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}, RULES: rules}
    assert broken(strategy(spec), {"at": "2026-11-22T00:00:00Z"}) == []
    assert len(broken(strategy(spec), {"at": "2019-11-22T00:00:00Z"})) == 1


@pytest.mark.timeout(30)
def test_expensive_rules_stop_at_the_budget_of_the_request() -> None:
    rule = {"rule": "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))", "message": "slow"}
    names = [f"l{index}" for index in range(20)]
    lists = {name: {"type": "array", "items": NUMBER, RULES: [rule]} for name in names}
    found = broken(strategy({"type": "object", "properties": lists}), {name: list(range(300)) for name in names})
    stop = "Invalid value: no further validation rules will be run due to call cost exceeds limit for rule: slow"
    assert found == [("spec.l0", stop)]


# definitions


def defining(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the definition of telescopes with another schema of the spec."""
    definition = copy.deepcopy(DEFINITION)
    definition["spec"]["versions"] = definition["spec"]["versions"][:1]
    properties = {"spec": schema, "status": {"type": "object", "properties": {"seen": NUMBER}}}
    definition["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": {"type": "object", "properties": properties}}
    return definition


def spec_with(*rules: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of the spec with rules."""
    return {
        "type": "object",
        "properties": {"mirror": NUMBER, "list": {"type": "array", "items": NUMBER}},
        RULES: rules,
    }


RULE = f"{PATH}.properties[spec].{RULES}[0]"
FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a rule that does not parse": ({"rule": "self.mirror >"}, f"{RULE}.rule", "Syntax error"),
    "a field that does not exist": ({"rule": "self.miror > 1"}, f"{RULE}.rule", "undefined field 'miror'"),
    "a comparison of two types": ({"rule": "self.mirror == 'a'"}, f"{RULE}.rule", "no matching overload"),
    "a rule that is no condition": ({"rule": "self.mirror"}, f"{RULE}.rule", "must evaluate to a bool"),
    "a rule without a text": ({"rule": "  "}, f"{RULE}.rule", "Required value"),
    "a reason that does not exist": ({"rule": "true", "reason": "Bad"}, f"{RULE}.reason", "Unsupported value"),
    "a path to no field": ({"rule": "true", "fieldPath": ".lens"}, f"{RULE}.fieldPath", "path to a field"),
    "a path that is none": ({"rule": "true", "fieldPath": "mirror"}, f"{RULE}.fieldPath", "path to a field"),
    "a message that is no text": ({"rule": "true", "messageExpression": "1"}, f"{RULE}.messageExpression", "a string"),
    "a message that does not compile": (
        {"rule": "true", "messageExpression": "self.lens"},
        f"{RULE}.messageExpression",
        "undefined field",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
async def test_a_definition_with_a_wrong_rule_is_refused_with_the_rule(store: Store, case: str) -> None:
    rule, field, message = FAULTS[case]
    CustomResources(store)
    with pytest.raises(Invalid, match=message) as refused:
        await store.create(CRD, defining(spec_with(rule)))
    assert [cause.field for cause in refused.value.causes] == [field]


async def test_every_wrong_rule_of_a_definition_is_named(store: Store) -> None:
    CustomResources(store)
    schema = spec_with({"rule": "self.a"}, {"rule": "true"}, {"rule": "self.b"})
    schema["properties"]["list"]["items"] = {"type": "integer", RULES: [{"rule": "self > oldSelf"}]}
    with pytest.raises(Invalid) as refused:
        await store.create(CRD, defining(schema))
    base = f"{PATH}.properties[spec]"
    assert {cause.field for cause in refused.value.causes} == {
        f"{base}.{RULES}[0].rule",
        f"{base}.{RULES}[2].rule",
        f"{base}.properties[list].items.{RULES}[0].rule",  # items of such a list have no old value
    }


async def established(store: Store, definition: dict[str, Any]) -> ResourceType:
    """Create a definition and return the type that it makes."""
    await store.create(CRD, definition)
    assert await condition(store, "Established") == "True"
    rt = store.registry.by_plural("sky.dev", "v1", "telescopes")
    assert rt is not None
    return rt


async def test_rules_judge_create_update_patch_apply_and_status(store: Store) -> None:
    schema = spec_with(
        {"rule": "self.mirror > 0", "message": "needs a mirror"}, {"rule": "self.mirror >= oldSelf.mirror"}
    )
    definition = defining(schema)
    status = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    status[RULES] = [{"rule": "!has(self.seen) || self.seen >= 0", "message": "cannot be negative"}]
    async with running(CustomResources(store)):
        rt = await established(store, definition)
        with pytest.raises(Invalid, match="needs a mirror"):
            await store.create(rt, telescope("bad", mirror=0))
        created = await store.create(rt, telescope("good", mirror=5))
        created["spec"]["mirror"] = 4
        with pytest.raises(Invalid, match=r"spec: Invalid value: failed rule: self.mirror >= oldSelf.mirror"):
            await store.update(rt, created)
        with pytest.raises(Invalid, match="needs a mirror"):
            await store.patch(rt, "default", "good", Patch("merge", {"spec": {"mirror": -1}}))
        with pytest.raises(Invalid, match=r"oldSelf.mirror"):
            body = telescope("good", mirror=2)
            await store.patch(rt, "default", "good", Patch("apply", body), field_manager="a", force=True)
        with pytest.raises(Invalid, match=r"status: Invalid value: cannot be negative"):
            patch = Patch("merge", {"status": {"seen": -1}})
            await store.patch(rt, "default", "good", patch, subresource="status")
        kept = await store.get(rt, "default", "good")
        assert (kept["spec"], kept.get("status")) == ({"mirror": 5}, None)


async def test_a_rule_that_cannot_be_judged_is_warned_of_and_stays_visible(store: Store) -> None:
    warnings: list[str] = []
    rules = ({"rule": "self.mirror.isPrime()"}, {"rule": "self.mirror > 0"})
    async with running(CustomResources(store)):
        await store.create(CRD, defining(spec_with(*rules)), warn=warnings.append)
        assert warnings == [
            f"{RULE}.rule: 'self.mirror.isPrime()' is not enforced: this server has no function isPrime"
        ]
        assert await condition(store, "Established") == "True"
        assert await condition(store, "RulesEnforced") == "False"
        rt = store.registry.by_plural("sky.dev", "v1", "telescopes")
        assert rt is not None
        with pytest.raises(Invalid, match=r"failed rule: self.mirror > 0"):
            await store.create(rt, telescope("bad", mirror=0))
        known = await store.get(CRD, None, "telescopes.sky.dev")
        known["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"][RULES] = [rules[1]]
        await store.update(CRD, known)
        async with asyncio.timeout(10):
            while "RulesEnforced" in str((await store.get(CRD, None, "telescopes.sky.dev"))["status"]):
                await asyncio.sleep(0.01)


async def test_a_changed_rule_is_asked_from_then_on(store: Store) -> None:
    async with running(CustomResources(store)):
        rt = await established(store, defining(spec_with({"rule": "self.mirror > 0"})))
        await store.create(rt, telescope("small", mirror=1))
        known = await store.get(CRD, None, "telescopes.sky.dev")
        spec = known["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        spec[RULES] = [{"rule": "self.mirror > 10"}]
        await store.update(CRD, known)
        async with asyncio.timeout(10):
            while rt is store.registry.by_plural("sky.dev", "v1", "telescopes"):
                await asyncio.sleep(0.01)
        changed = store.registry.by_plural("sky.dev", "v1", "telescopes")
        assert changed is not None
        with pytest.raises(Invalid, match=r"self.mirror > 10"):
            await store.create(changed, telescope("tiny", mirror=2))


async def test_kubectl_shows_the_broken_rule(store: Store, kubectl: Kubectl) -> None:
    rules = ({"rule": "self.mirror > 10", "message": "too small for the sky"}, {"rule": "self.mirror.isPrime()"})
    async with running(CustomResources(store)):
        done = await kubectl("apply", "-f", "-", stdin=yaml.safe_dump(defining(spec_with(*rules))))
        assert done.code == 0
        assert "Warning: " in done.err
        assert "is not enforced" in done.err
        await kubectl.ok("wait", "crd/telescopes.sky.dev", "--for=condition=Established", "--timeout=20s")
        refused = await kubectl("apply", "-f", "-", stdin=yaml.safe_dump(telescope("small", mirror=3)))
        assert refused.code == 1
        assert 'The Telescope "small" is invalid: spec: Invalid value: too small for the sky' in refused.err
