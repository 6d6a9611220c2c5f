"""What is wrong with a payload."""

from atoll.federation.errors import InvalidInput


class MalformedPayload(InvalidInput):
    """The bytes are not what their format says. `where` is a place in them: `byte 17`, or the path of a field."""

    reason = "MalformedPayload"

    def __init__(self, form: str, problem: str, *, where: str = "") -> None:
        super().__init__(f"malformed {form} payload{f' at {where}' if where else ''}: {problem}")
        self.where = where
