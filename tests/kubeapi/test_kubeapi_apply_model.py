"""Server-side apply does what a plain model of it does, for any sequence of applies and plain writes."""

from typing import Any

from hypothesis import given, note, settings
from hypothesis import strategies as st

from atoll.kubeapi.apply import Application, apply
from atoll.kubeapi.errors import Conflict, Subject
from atoll.kubeapi.fieldset import paths, readable
from atoll.kubeapi.managed_fields import APPLY, UPDATE, Manager, Managers, after_write, decode, encode, tracked
from atoll.kubeapi.typed import field_set
from kubeapi.apply_model import SCHEMA, Json, Model, flat, owned, whole

WORDS = st.sampled_from(["x", "y"])
MAPS = st.dictionaries(WORDS, WORDS, min_size=1)
PART = st.fixed_dictionaries({}, optional={"count": st.integers(1, 2), "color": WORDS})
PARTS = st.dictionaries(st.sampled_from(["a", "b", "c"]), PART, min_size=1).map(
    lambda parts: [{"name": name, **part} for name, part in parts.items()]
)
CONFIGS: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {},
    optional={
        "size": st.integers(1, 2),
        "color": WORDS,
        "options": MAPS,
        "nested": st.fixed_dictionaries({"mode": WORDS}, optional={"flags": MAPS}),
        "selector": MAPS,
        "steps": st.lists(WORDS, min_size=1, max_size=2),
        "tags": st.lists(st.sampled_from(["p", "q", "r"]), min_size=1, unique=True),
        "parts": PARTS,
    },
)
APPLIES = st.tuples(st.sampled_from(["one", "two", "three"]), CONFIGS, st.booleans())
STEPS = st.lists(st.one_of(APPLIES, st.tuples(st.just("hand"), CONFIGS, st.booleans())), max_size=10)


class Real:
    """The same as the model, by the code that serves."""

    def __init__(self) -> None:
        self.live: Json = {}
        self.managers: Managers = {}

    def apply(self, name: str, config: Json, *, force: bool) -> set[tuple[str, str]]:
        """Give the conflicts as their managers and readable paths."""
        application = Application(Manager(APPLY, name, "v1"), config, force, "now")
        try:
            applied = apply(self.live, self.managers, application, schema=SCHEMA, subject=Subject())
        except Conflict as conflict:
            return {(cause.message.split('"')[1], cause.field) for cause in conflict.causes}
        self.live = applied.obj
        self._keep(applied.managers)
        return set()

    def write(self, name: str, new: Json) -> None:
        writer = Manager(UPDATE, name, "v1")
        managers = after_write(self.live, new, self.managers, writer=writer, schema=SCHEMA, now="now")
        self.live = new
        self._keep(managers)

    def _keep(self, managers: Managers) -> None:
        """Keep the managers as an object does: in their wire form."""
        self.managers = decode(encode(managers))

    @property
    def owners(self) -> dict[str, set[Any]]:
        return {manager.name: owned(set(paths(each.fields))) for manager, each in self.managers.items()}


def readable_conflicts(config: Json, conflicts: set[tuple[str, Any]]) -> set[tuple[str, str]]:
    """Write the model's paths as a refusal does."""
    words = {}
    for path in paths(tracked(field_set(config, SCHEMA))):
        for short in owned({path}):
            words[short] = readable(path)
    return {(name, words[path]) for name, path in conflicts}


@settings(max_examples=400, deadline=None, print_blob=True)
@given(STEPS)
def test_any_sequence_of_applies_and_writes_does_what_the_model_says(steps: list[tuple[str, Json, bool]]) -> None:
    model, real = Model(), Real()
    for name, config, flag in steps:
        note(f"{name}{' forces or removes' if flag else ''}: {config}")
        if name == "hand":
            new = flat(config) if flag else {**model.live, **flat(config)}
            model.write(name, new)
            real.write(name, whole(new))
        else:
            expected = model.apply(name, flat(config), force=flag)
            assert real.apply(name, config, force=flag) == readable_conflicts(config, expected)
        assert flat(real.live) == model.live
        assert {who: what for who, what in real.owners.items() if what} == {
            who: what for who, what in model.owners.items() if what
        }


@settings(max_examples=100, deadline=None, print_blob=True)
@given(STEPS, CONFIGS)
def test_what_was_applied_stands_and_applying_it_again_changes_nothing(
    steps: list[tuple[str, Json, bool]], config: Json
) -> None:
    real = Real()
    for name, earlier, flag in steps:
        real.apply(name, earlier, force=flag)
    assert real.apply("last", config, force=True) == set()
    assert flat(config).items() <= flat(real.live).items()
    before, managers = real.live, encode(real.managers)
    real.apply("last", config, force=False)
    assert (real.live, encode(real.managers)) == (before, managers)
    real.apply("last", {}, force=False)
    left = {path for who, each in real.owners.items() if who != "last" for path in each}
    assert flat(real.live).keys() <= left
