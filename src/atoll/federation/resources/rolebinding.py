"""RoleBinding: which people and groups may do what, in which namespaces and through which queues."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from atoll.federation.resources.base import Condition, DnsLabel, DnsSubdomain, Model, Resource

Role = Literal["Admin", "Operator", "Submitter", "Viewer"]


def scope_problem(role: Role | None, field: str) -> str:
    """Say why a role cannot be limited by `namespaces` or `queues`, empty if it can. Pure."""
    if field == "queues" and role not in ("Submitter", None):
        return f"only a Submitter is limited to queues, and the role is {role}: leave queues out"
    if field == "namespaces" and role == "Admin":
        return "an Admin is not limited to namespaces: leave namespaces out, or choose the role Operator"
    return ""


class RoleSubject(Model):
    """Who is meant: a user or a group by the exact name under which the hub knows them."""

    kind: Literal["User", "Group"]
    name: Annotated[str, Field(min_length=1, max_length=253)]


class RoleBindingSpec(Model):
    """What is granted to whom."""

    role: Role = Field(
        description="Viewer reads; Submitter also writes jobs, triggers, datasets and transfers; Operator writes "
        "every kind but RoleBinding; Admin may do everything, and issues tokens and reads the audit records of all."
    )
    subjects: tuple[RoleSubject, ...] = Field(min_length=1, description="The users and groups that get the role.")
    namespaces: tuple[DnsLabel, ...] = Field(
        default=(), description="The namespaces in which it holds; all if empty. An Admin is not limited."
    )
    queues: tuple[DnsSubdomain, ...] = Field(
        default=(),
        description="The queues a Submitter may name in jobs; all if empty. A queue stands for the queues whose "
        "names begin with it and a dot, too: seismology covers seismology.interactive.",
    )

    @field_validator("namespaces", "queues")
    @classmethod
    def _fits_the_role(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if value and (problem := scope_problem(info.data.get("role"), str(info.field_name))):
            raise ValueError(problem)
        return value


class RoleBindingStatus(Model):
    """Nothing has to happen for a binding to hold; the conditions are for others' controllers."""

    conditions: tuple[Condition, ...] = ()
    observed_generation: int | None = None


class RoleBinding(Resource):
    """Gives users and groups a role."""

    description: ClassVar[str] = (
        "Gives users and groups a role, everywhere or in some namespaces and queues. In force as soon as it is stored."
    )

    kind: Literal["RoleBinding"] = "RoleBinding"
    spec: RoleBindingSpec
    status: RoleBindingStatus = RoleBindingStatus()
