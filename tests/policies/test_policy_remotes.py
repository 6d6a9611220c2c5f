"""A repository's URL is read in one way, and an address is judged by what it is, however it is written."""

import ipaddress
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.errors import InvalidInput
from atoll.policies.remotes.reach import AddressRefused, Places, Reach, kind_of_refused
from atoll.policies.remotes.url import Remote, parse_remote, public_url

READ = {
    "https://git.example.org/policies.git": Remote("https", "git.example.org"),
    "https://Git.Example.org:8443/a/b@c.git": Remote("https", "git.example.org", 8443),
    "https://ada:p%40ss@git.example.org/a": Remote("https", "git.example.org"),
    "https://[fd00::1]:8443/a": Remote("https", "fd00::1", 8443),
    "https://[::ffff:127.0.0.1]/a": Remote("https", "::ffff:7f00:1"),
    "https://10.1.2.3/a": Remote("https", "10.1.2.3"),
    "ssh://git@git.example.org:2222/a": Remote("ssh", "git.example.org", 2222, "git"),
    "ssh://git-server/~ada/a": Remote("ssh", "git-server"),
    "git@git.example.org:group/a.git": Remote("ssh", "git.example.org", None, "git"),
    "/srv/policies.git": None,
    "file:///srv/policies.git": None,
}
REFUSED = [
    # a host that git, curl or ssh read otherwise than we might
    "https://good.example.org\\@127.0.0.1/a",
    "https://good.example.org#@127.0.0.1/a",
    "https://good.example.org?@127.0.0.1/a",
    "https://a@b@127.0.0.1/a",
    "https://%31%32%37.0.0.1/a",
    "https://ⓛocalhost/a",
    "https://localhost./a",
    "https://[fe80::1%25eth0]/a",
    "https://[::1/a",
    "https:///a",
    "https://git.example.org:/a",
    "https://git.example.org:0/a",
    "https://git.example.org:99999/a",
    "ssh://u%2f@git.example.org/a",
    "ssh://u%40127.0.0.1%2f@git.example.org/a",
    "ssh://[git@127.0.0.1:22]/a",
    "ssh://-oProxyCommand=x/a",
    "ssh://git@-oProxyCommand=x/a",
    "-oProxyCommand=x@git.example.org:a",
    # what inet_aton takes for 127.0.0.1
    "https://127.1/a",
    "https://0x7f000001/a",
    "https://2130706433/a",
    "https://0177.0.0.1/a",
    "https://127.0.0.0x1/a",
    "git@127.1:a",
    # no way of ours
    "http://git.example.org/a",
    "git://git.example.org/a",
    "ext::sh -c x",
    "file://server/share",
]


@pytest.mark.parametrize(("url", "remote"), READ.items())
def test_a_url_says_where_a_repository_is(url: str, remote: Remote | None) -> None:
    assert parse_remote(url) == remote


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_that_can_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"^source\.repository "):
        parse_remote(url)


PARTS = st.sampled_from([*"@:/\\#?[]%.-", "127.0.0.1", "localhost", "good.example", "::1", "40", "2f", "22", "u", "é"])


@given(st.lists(PARTS, min_size=1, max_size=8).map("".join))
def test_another_reader_of_urls_finds_no_other_host_in_what_is_taken(rest: str) -> None:
    try:
        remote = parse_remote(f"https://{rest}")
    except InvalidInput:
        return
    assert remote is not None
    found = urlsplit(f"https://{rest}")
    assert found.hostname is not None
    same = found.hostname if ":" not in found.hostname else str(ipaddress.ip_address(found.hostname))
    assert (same, found.port) == (remote.host, remote.port)


def test_no_part_of_a_password_is_shown() -> None:
    for url in ("https://ada:secret@host/a", "https://ada:more@secret@host/a", "ssh://secret@host/a"):
        assert "secret" not in public_url(url)
        assert public_url(url).endswith("//host/a")


KINDS = {
    "a loopback address": ("127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
    "a link-local address": ("169.254.0.1", "fe80::1", "::ffff:169.254.1.1"),
    "a metadata service of a cloud": ("169.254.169.254", "::ffff:a9fe:a9fe", "fd00:ec2::254", "168.63.129.16"),
    "an unspecified address": ("0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0"),
    "a multicast address": ("224.0.0.1", "ff02::1"),
    "a reserved address": ("255.255.255.255", "240.0.0.1"),
    "": (
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "fd12::1",
        "8.8.8.8",
        "2001:db8::1",
        "64:ff9b::808:808",
    ),
}


@pytest.mark.parametrize(("kind", "addresses"), KINDS.items())
def test_an_address_is_what_it_is_however_it_is_written(kind: str, addresses: tuple[str, ...]) -> None:
    assert {each: kind_of_refused(ipaddress.ip_address(each)) for each in addresses} == dict.fromkeys(addresses, kind)


def test_what_is_allowed_opens_what_it_names_and_nothing_beside() -> None:
    reach = Reach.parse(["127.0.0.5", "git.lab", "*.inside.example"], [])
    loopback = (ipaddress.ip_address("127.0.0.1"),)
    reach.check("r", "anything", (ipaddress.ip_address("127.0.0.5"),))
    reach.check("r", "git.lab", loopback)
    reach.check("r", "a.b.inside.example", loopback)
    for host in ("git.lab.evil.example", "inside.example", "evilinside.example", "127.0.0.1"):
        with pytest.raises(AddressRefused):
            reach.check("r", host, loopback)


def test_what_only_names_allows_nothing_that_is_refused_and_no_address_beside() -> None:
    reach = Reach.parse([], ["10.0.0.0/8", "127.0.0.0/8", "git.example.org"])
    inside, outside = ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("192.0.2.1")
    reach.check("r", "any.example", (inside,))
    reach.check("r", "git.example.org", (outside,))
    reach.check("r", "git.example.org", ())
    for host, addresses in (("any.example", (inside, outside)), ("any.example", ()), ("192.0.2.1", (outside,))):
        with pytest.raises(AddressRefused, match="none of the hosts and networks"):
            reach.check("r", host, addresses)
    with pytest.raises(AddressRefused, match=r"--git-allow git\.example\.org"):
        reach.check("r", "git.example.org", (ipaddress.ip_address("127.0.0.1"),))


@pytest.mark.parametrize("word", ["10.0.0.1/8", "10.0.0", "https://git.example.org", "git.example.org:443", "*", ""])
def test_a_setting_that_means_nothing_is_refused_by_its_option(word: str) -> None:
    with pytest.raises(InvalidInput, match=r"^--git-only "):
        Places.parse([word], "--git-only")
