"""ID tokens of an identity provider: what is taken, what is refused and why, and keys that change or cannot be had."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from atoll.federation.errors import InvalidInput
from atoll.hub.access.identity import ADMINS_GROUP, Refused
from atoll.hub.access.oidc import LEEWAY_SECONDS, LONGEST_TOKEN, Oidc, usable_keys
from atoll.hub.access.oidc_keys import ASK_AGAIN_SECONDS
from atoll.hub.settings import OidcSettings
from atoll.kubeapi.errors import Unavailable
from atoll.kubeapi.http.access import User
from hub.support import API, eventually
from hub.tls_support import Authority, ready, secured_hub, status, visitor, who

AUDIENCE = "atoll"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Signer:
    """One key of a provider."""

    def __init__(self, name: str, algorithm: str = "ES256", key: Any = None) -> None:
        self.name, self.algorithm = name, algorithm
        self.key = (
            key
            or {
                "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
                "EdDSA": ed25519.Ed25519PrivateKey.generate,
                "RS256": lambda: RSA_KEY,
            }[algorithm]()
        )

    @property
    def public(self) -> dict[str, Any]:
        kind = {"ES256": ECAlgorithm, "EdDSA": OKPAlgorithm, "RS256": RSAAlgorithm}[self.algorithm]
        return {**kind.to_jwk(self.key.public_key(), as_dict=True), "kid": self.name, "use": "sig"}

    def sign(self, claims: Mapping[str, Any], **headers: Any) -> str:
        return jwt.encode(dict(claims), self.key, self.algorithm, headers={"kid": self.name, **headers})


class Provider:
    """An identity provider on loopback: it announces its key set and serves it, unless it is away."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.asked = 0
        self.is_away = False
        self.announced: dict[str, Any] = {}
        self.body: bytes | None = None
        self.issuer = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).split()[1]
        while (await reader.readline()).strip():
            pass
        self.asked += 1
        keys = orjson.dumps({"keys": self.keys}) if self.body is None else self.body
        body = orjson.dumps(self.announced) if path.endswith(b"/openid-configuration") else keys
        code = b"503 Away" if self.is_away else b"200 OK"
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (code, len(body), body))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    def settings(self, **changes: Any) -> OidcSettings:
        return OidcSettings(**{"issuer": self.issuer, "audience": AUDIENCE, **changes})

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        standard = {"iss": self.issuer, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 300}
        merged = {**standard, **changes}
        return {name: value for name, value in merged.items() if value is not None}


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    found = Provider()
    server = await asyncio.start_server(found.answer, "127.0.0.1", 0)
    found.issuer = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    found.announced = {"issuer": found.issuer, "jwks_uri": f"{found.issuer}/keys"}
    async with server:
        yield found


class Watch:
    """Monotonic time that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def reason(found: User | Refused) -> str:
    return found.reason if isinstance(found, Refused) else f"accepted {found.name}"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_good_token_names_the_user_and_the_groups_with_a_prefix(provider: Provider, algorithm: str) -> None:
    signer = Signer("one", algorithm)
    provider.keys = [signer.public]
    found = await Oidc(provider.settings()).authenticate(
        signer.sign(provider.claims(groups=["labs", "atoll:admins"], jti="j1"))
    )
    assert isinstance(found, User)
    assert (found.name, found.groups, found.uid) == ("oidc:alice", ("oidc:labs", "oidc:atoll:admins"), "alice")
    assert found.extra["authentication.kubernetes.io/credential-id"] == ("JTI=j1",)


async def test_claims_are_checked_with_a_minute_of_leeway(provider: Provider) -> None:
    signer, now = Signer("one"), int(time.time())
    provider.keys = [signer.public]
    oidc = Oidc(provider.settings())
    inside, outside = LEEWAY_SECONDS - 10, LEEWAY_SECONDS + 10
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "ended a moment ago by our clock": ({"exp": now - inside}, "accepted oidc:alice"),
        "ended": ({"exp": now - outside}, "Expired"),
        "begins in a moment by our clock": ({"nbf": now + inside, "iat": now + inside}, "accepted oidc:alice"),
        "begins later": ({"nbf": now + outside}, "NotYetValid"),
        "made in the future": ({"iat": now + outside}, "NotYetValid"),
        "for another program": ({"aud": "grafana"}, "WrongAudience"),
        "for several, us among them": ({"aud": ["grafana", AUDIENCE]}, "accepted oidc:alice"),
        "for nobody": ({"aud": None}, "MissingClaim"),
        "without an end": ({"exp": None}, "MissingClaim"),
        "of another issuer": ({"iss": "https://evil.example.org"}, "WrongIssuer"),
        "of nobody": ({"iss": None}, "MissingClaim"),
        "about nobody": ({"sub": None}, "MissingClaim"),
        "with an end that is no time": ({"exp": "soon"}, "Malformed"),
        "with groups that are no names": ({"groups": [{"a": 1}]}, "InvalidClaim"),
        "with one group": ({"groups": "labs"}, "accepted oidc:alice"),
        "about an empty name": ({"sub": ""}, "InvalidClaim"),
    }
    found = {what: reason(await oidc.authenticate(signer.sign(provider.claims(**changes)))) for what, (changes, _) in
             cases.items()}  # fmt: skip
    assert found == {what: wanted for what, (_, wanted) in cases.items()}


async def test_a_token_cannot_choose_how_it_is_checked(provider: Provider) -> None:
    rs, es = Signer("rsa", "RS256"), Signer("ec")
    pem = rs.key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    secret = {"kty": "oct", "kid": "shared", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}
    provider.keys = [rs.public, es.public, secret]
    claims = provider.claims()
    good = rs.sign(claims)
    head, body, signature = good.split(".")
    other = rs.sign(provider.claims(sub="root")).split(".")[1]
    forged = {
        "no signature": jwt.encode(claims, None, "none"),
        "no signature, by its name": jwt.encode(claims, None, "none", headers={"kid": "rsa"}),
        "the public key as a shared secret": _hmac(claims, pem, kid="rsa"),
        "a shared secret of the set": _hmac(claims, b"secretsecretsecretsecretsecretsecret", kid="shared"),
        "another key's name": Signer("x", "RS256", rsa.generate_private_key(public_exponent=65537, key_size=2048)).sign(
            claims, kid="rsa"
        ),
        "the algorithm of another key": es.sign(claims, kid="rsa"),
        "other claims under a good signature": f"{head}.{other}.{signature}",
        "a key of its own": Signer("x").sign(claims, kid="ec", jwk=Signer("x").public),
        "a place for keys of its own": Signer("x").sign(claims, kid="ec", jku=f"{provider.issuer}/evil"),
        "an algorithm that is a list": f"{_part({'alg': ['RS256'], 'kid': 'rsa'})}.{body}.{signature}",
        "an unknown critical header": rs.sign(claims, crit=["x"], x=1),
        "a very long token": good + "A" * LONGEST_TOKEN,
    }
    oidc = Oidc(provider.settings())
    assert reason(await oidc.authenticate(good)) == "accepted oidc:alice"
    for what, token in forged.items():
        assert isinstance(await oidc.authenticate(token), Refused), what


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _hmac(claims: Mapping[str, Any], secret: bytes, *, kid: str) -> str:
    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT', 'kid': kid})}.{_part(claims)}"
    mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


async def test_a_new_key_is_found_and_one_taken_back_is_forgotten(provider: Provider) -> None:
    old, new, watch = Signer("old"), Signer("new"), Watch()
    provider.keys = [old.public]
    oidc = Oidc(provider.settings(), now=watch)
    assert reason(await oidc.authenticate(old.sign(provider.claims()))) == "accepted oidc:alice"
    provider.keys = [new.public]
    assert reason(await oidc.authenticate(new.sign(provider.claims()))) == "UnknownKey"  # asked a moment ago
    watch.now += ASK_AGAIN_SECONDS
    assert reason(await oidc.authenticate(new.sign(provider.claims()))) == "accepted oidc:alice"
    assert reason(await oidc.authenticate(old.sign(provider.claims()))) == "UnknownKey"


async def test_made_up_key_names_make_the_hub_ask_at_most_once_a_minute(provider: Provider) -> None:
    signer, watch = Signer("one"), Watch()
    provider.keys = [signer.public]
    oidc = Oidc(provider.settings(keys=f"{provider.issuer}/keys"), now=watch)
    tokens = [signer.sign(provider.claims(), kid=f"made-up-{number}") for number in range(30)]
    found = await asyncio.gather(*(oidc.authenticate(token) for token in tokens))
    assert {reason(one) for one in found} == {"UnknownKey"}
    assert provider.asked == 1
    watch.now += ASK_AGAIN_SECONDS
    await asyncio.gather(*(oidc.authenticate(token) for token in tokens))
    assert provider.asked == 2


async def test_the_keys_of_a_provider_that_is_away_stay_good(provider: Provider) -> None:
    signer, watch = Signer("one"), Watch()
    provider.keys = [signer.public]
    oidc = Oidc(provider.settings(), now=watch)
    assert reason(await oidc.authenticate(signer.sign(provider.claims()))) == "accepted oidc:alice"
    for broken in ("away", "no JSON", "no set", "too much"):
        provider.is_away = broken == "away"
        provider.body = {"no JSON": b"<html>", "no set": b'{"keys": 5}', "too much": b" " * 2_000_000}.get(broken)
        watch.now += ASK_AGAIN_SECONDS
        assert reason(await oidc.authenticate(signer.sign(provider.claims(), kid="new"))) == "UnknownKey", broken
        assert reason(await oidc.authenticate(signer.sign(provider.claims()))) == "accepted oidc:alice", broken


async def test_before_any_key_was_read_nobody_can_tell_and_the_answer_says_so(provider: Provider) -> None:
    signer, watch = Signer("one"), Watch()
    provider.is_away = True
    provider.keys = [signer.public]
    oidc = Oidc(provider.settings(), now=watch)
    with pytest.raises(Unavailable):
        await oidc.authenticate(signer.sign(provider.claims()))
    provider.is_away = False
    watch.now += 5.0
    assert reason(await oidc.authenticate(signer.sign(provider.claims()))) == "accepted oidc:alice"


async def test_an_issuer_that_announces_another_or_keys_without_tls_is_not_believed(provider: Provider) -> None:
    signer = Signer("one")
    provider.keys = [signer.public]
    for announced in (
        {"issuer": "https://evil.example.org", "jwks_uri": f"{provider.issuer}/keys"},
        {"issuer": provider.issuer, "jwks_uri": "http://keys.example.org/keys"},
        {"issuer": provider.issuer, "jwks_uri": "file:///etc/passwd"},
        {"issuer": provider.issuer},
    ):
        provider.announced = announced
        with pytest.raises(Unavailable):
            await Oidc(provider.settings()).authenticate(signer.sign(provider.claims()))


async def test_a_key_set_may_be_a_file_and_hold_keys_for_other_things(provider: Provider, tmp_path: Path) -> None:
    signer, file = Signer("one"), tmp_path / "keys.json"
    others: list[dict[str, Any]] = [
        {**Signer("for encryption").public, "use": "enc"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "what", "kid": "one"},
        {"kty": "RSA", "kid": "one"},
        {"kty": "EC", "crv": "P-256", "x": 5, "y": []},
        {"kty": "EC", "alg": ["ES256"], "kid": "one"},
        {},
    ]
    file.write_bytes(orjson.dumps({"keys": [*others, signer.public]}))
    assert [key.key_id for key in usable_keys([*others, signer.public])] == ["one"]
    oidc = Oidc(provider.settings(keys=str(file)))
    assert reason(await oidc.authenticate(signer.sign(provider.claims()))) == "accepted oidc:alice"
    unnamed = jwt.encode(provider.claims(), signer.key, "ES256")
    assert reason(await oidc.authenticate(unnamed)) == "accepted oidc:alice"
    assert provider.asked == 0


async def test_other_claims_may_name_the_user_and_an_unverified_address_does_not(provider: Provider) -> None:
    signer = Signer("one")
    provider.keys = [signer.public]
    oidc = Oidc(provider.settings(username_claim="email", groups_claim="roles"))
    verified = signer.sign(provider.claims(email="a@example.org", email_verified=True, roles=["labs"]))
    found = await oidc.authenticate(verified)
    assert isinstance(found, User)
    assert (found.name, found.groups) == ("oidc:a@example.org", ("oidc:labs",))
    unverified = signer.sign(provider.claims(email="a@example.org", email_verified=False))
    assert reason(await oidc.authenticate(unverified)) == "InvalidClaim"


def test_settings_that_name_no_safe_place_for_keys_are_refused(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("[]")
    cases = {
        "--oidc-issuer": {"issuer": "http://id.example.org"},
        "--oidc-jwks: 'http": {"keys": "http://id.example.org/keys"},
        "--oidc-jwks: 'ftp": {"keys": "ftp://id.example.org/keys"},
        "nowhere.json: No such file": {"keys": str(tmp_path / "nowhere.json")},
        "bad.json is no JSON object": {"keys": str(bad)},
        "--oidc-ca": {"ca": bad},
    }
    for message, changes in cases.items():
        with pytest.raises(InvalidInput, match=message):
            Oidc(OidcSettings(**{"issuer": "https://id.example.org", "audience": "a", **changes}))  # type: ignore[arg-type]


_CLAIMS = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.dictionaries(
        st.sampled_from(["alg", "kid", "crit", "b64", "exp", "aud", "iss"]), inner, max_size=4
    ),
    max_leaves=6,
)
_LIKE_TOKENS = st.lists(_CLAIMS, min_size=2, max_size=4).map(lambda parts: ".".join(_part(part) for part in parts))


@given(_LIKE_TOKENS | st.text(max_size=200))
def test_nothing_that_is_sent_as_a_token_makes_the_hub_fail(tmp_path_factory: Any, token: str) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed-keys.json"
    if not file.exists():
        file.write_bytes(orjson.dumps({"keys": [Signer("one").public]}))
    oidc = Oidc(OidcSettings("https://id.example.org", AUDIENCE, keys=str(file)))
    assert isinstance(asyncio.run(oidc.authenticate(token)), Refused)


async def test_only_the_named_group_of_the_provider_makes_admins(provider: Provider) -> None:
    signer = Signer("one")
    provider.keys = [signer.public]
    for settings, groups, is_admin in (
        (provider.settings(admins="platform"), ["labs", "platform"], True),
        (provider.settings(admins="platform"), ["labs", "oidc:platform", "atoll:admins"], False),
        (provider.settings(), ["platform"], False),
    ):
        found = await Oidc(settings).authenticate(signer.sign(provider.claims(groups=groups)))
        assert isinstance(found, User)
        assert (ADMINS_GROUP in found.groups) is is_admin, (settings.admins, groups)


async def test_a_person_comes_in_by_an_id_token_and_gets_what_a_binding_gives_their_group(
    provider: Provider, nats_server: Any, tmp_path: Path
) -> None:
    authority, signer = Authority(tmp_path / "pki"), Signer("one", "RS256")
    provider.keys = [signer.public]
    async with secured_hub(nats_server.url, tmp_path, authority, oidc=provider.settings()) as hub:
        await ready(hub)
        token = signer.sign(provider.claims(groups=["labs"]))
        async with visitor(hub.url, authority.context(), token=token) as person:
            assert (await who(person))["groups"] == ["oidc:labs", "system:authenticated"]
            assert status(await person.get(f"{API}/jobs"))[:2] == (403, "Forbidden")
            binding = {
                "apiVersion": "atoll.dev/v1alpha1", "kind": "RoleBinding", "metadata": {"name": "labs"},
                "spec": {"role": "Viewer", "subjects": [{"kind": "Group", "name": "oidc:labs"}]},
            }  # fmt: skip
            assert (await hub.http.post(f"{API}/rolebindings", json=binding)).status_code == 201

            async def may_read() -> bool:
                return (await person.get(f"{API}/jobs")).status_code == 200

            await eventually(may_read)
        ended = signer.sign(provider.claims(exp=datetime.now(UTC) - timedelta(minutes=2)))
        async with visitor(hub.url, authority.context(), token=ended) as person:
            assert status(await person.get(f"{API}/jobs")) == (401, "Unauthorized", "Unauthorized")
