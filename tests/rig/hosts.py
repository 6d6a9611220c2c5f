"""Hosts on one machine: network namespaces with links of IP packets to a centre, so that TCP itself meets faults.

Owns the namespaces, their addresses, and carrying packets; what becomes of a packet is `packets.py`'s to say. All
addresses are loopback's, since Atoll asks for TLS at others: each namespace has all of 127.0.0.0/8 for itself, but for
127.254.0.0/16, which is at the other end of its link. No namespace is touched but those that are made here; they end
with the process that made them.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import functools
import ipaddress
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rig.packets import SOUND, Delivery, Impairment, Link, Way

_Made = TypeVar("_Made")
_NEW_NETWORK = 0x40000000  # linux/sched.h: CLONE_NEWNET
_SET_TUN, _IS_TUN_WITHOUT_HEADER = 0x400454CA, 0x1001  # linux/if_tun.h: TUNSETIFF; IFF_TUN | IFF_NO_PI
_DEVICE, _PACKET_BYTES, _MTU_BYTES = "wire", 65_536, 1500
_NETWORK = ipaddress.ip_network("127.254.0.0/16")
# So many packets of one link, and then the others': more, and a busy link makes the rest wait.
_AT_ONCE = 64


@dataclass(frozen=True)
class Namespace:
    """A network namespace, by what keeps it: it is gone when this process is and nobody is in it."""

    descriptor: int

    @classmethod
    def made(cls) -> "Namespace":
        """Make one, with no network at all.

        Raises:
            OSError: this machine or this user may not.
        """
        return _in_a_thread(lambda: cls(_unshared()))

    @property
    def path(self) -> str:
        """Where other processes find it, as long as this one lives."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def do(self, work: Callable[[], _Made]) -> _Made:
        """Do something in it, in a thread of its own: a socket stays in the namespace that it was made in."""

        def there() -> _Made:
            enter(self.path)
            return work()

        return _in_a_thread(there)

    def close(self) -> None:
        os.close(self.descriptor)


def enter(path: str) -> None:
    """Put this thread into a namespace, and with it all threads and processes that it begins."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _checked(_libc().setns(descriptor, _NEW_NETWORK))
    finally:
        os.close(descriptor)


@dataclass
class Host:
    """One namespace with its link to the centre."""

    namespace: Namespace
    address: str
    tun: int
    link: Link
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def impair(self, impairment: Impairment) -> None:
        """Let its link be impaired in this way from now on; SOUND mends it."""
        with self._lock:
            self.link.impair(impairment, time.monotonic())

    def mend(self) -> None:
        self.impair(SOUND)

    def forget(self, *, resets: bool) -> None:
        """Let its firewall forget all connections; see `Link.forget`."""
        with self._lock:
            self.link.forget(resets=resets)

    def carry(self, packet: bytes, way: Way) -> list[Delivery]:
        with self._lock:
            return self.link.carry(packet, way, time.monotonic())


class Centre:
    """The namespace that all links lead to, and who carries their packets: one thread.

    `address` is where hosts reach what listens there.
    """

    def __init__(self) -> None:
        self.namespace, self.address = Namespace.made(), str(_NETWORK[1])
        self._tun = self.namespace.do(lambda: _lay(self.address, _NETWORK.with_prefixlen))
        self._hosts: dict[bytes, Host] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)

    @classmethod
    @contextlib.contextmanager
    def opened(cls) -> Iterator["Centre"]:
        """Have a centre for the context's time; `why_not` says whether this machine allows it."""
        centre = cls()
        centre._thread.start()
        centre._watch(centre._tun, centre._down)
        try:
            yield centre
        finally:
            centre._close()

    def host(self, ports: Collection[int], *, seed: int = 0) -> Host:
        """Make a host, of whose packets those to and from these ports of the centre may suffer."""
        address = str(_NETWORK[len(self._hosts) + 2])
        namespace = Namespace.made()
        tun = namespace.do(lambda: _lay(address, self.address))
        host = Host(namespace, address, tun, Link(ports, seed=seed))
        self._hosts[ipaddress.ip_address(address).packed] = host
        self._watch(tun, functools.partial(self._up, host))
        return host

    def _watch(self, tun: int, take: Callable[[bytes], None]) -> None:
        self._loop.call_soon_threadsafe(self._loop.add_reader, tun, _drain, tun, take)

    def _up(self, host: Host, packet: bytes) -> None:
        self._deliver(host, host.carry(packet, "up"))

    def _down(self, packet: bytes) -> None:
        if packet[0] >> 4 == 4 and (host := self._hosts.get(packet[16:20])) is not None:
            self._deliver(host, host.carry(packet, "down"))

    def _deliver(self, host: Host, deliveries: list[Delivery]) -> None:
        for each in deliveries:
            tun = self._tun if each.way == "up" else host.tun
            if each.after_seconds:
                self._loop.call_later(each.after_seconds, _write, tun, each.packet)
            else:
                _write(tun, each.packet)

    def _close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        for host in self._hosts.values():
            os.close(host.tun)
            host.namespace.close()
        os.close(self._tun)
        self.namespace.close()


@functools.cache
def why_not() -> str:
    """Say why there can be no hosts here; empty if there can. It tries, which takes milliseconds."""
    if sys.platform != "linux" or not shutil.which("ip"):
        return "needs Linux with iproute2"
    try:
        with Centre.opened() as centre:
            centre.host(())
    except (OSError, subprocess.CalledProcessError) as error:
        return f"this user may not make network namespaces and TUN devices (root may): {error}"
    return ""


def _lay(address: str, others: str) -> int:
    """Give this thread's namespace an end of a link: an address, and the way to others; give the device."""
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tun, _SET_TUN, struct.pack("16sH22x", _DEVICE.encode(), _IS_TUN_WITHOUT_HEADER))
    # Else addresses of a loopback may not travel (Linux, networking/ip-sysctl: route_localnet).
    Path(f"/proc/sys/net/ipv4/conf/{_DEVICE}/route_localnet").write_text("1")
    # Before all other routes come those of `local`, and of these the longest: 127.0.0.0/8 is the host's own but for it.
    _ip(
        "link set lo up",
        f"link set {_DEVICE} up mtu {_MTU_BYTES}",
        f"addr add {address}/32 dev {_DEVICE}",
        f"route add {others} dev {_DEVICE} src {address} scope link table local",
    )
    return tun


def _ip(*lines: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines).encode(), check=True, capture_output=True)


def _drain(tun: int, take: Callable[[bytes], None]) -> None:
    with contextlib.suppress(BlockingIOError):
        for _ in range(_AT_ONCE):
            take(os.read(tun, _PACKET_BYTES))


def _write(tun: int, packet: bytes) -> None:
    """Send it on; a full queue loses packets, as it does elsewhere."""
    with contextlib.suppress(OSError):
        os.write(tun, packet)


def _unshared() -> int:
    _checked(_libc().unshare(_NEW_NETWORK))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _in_a_thread(work: Callable[[], _Made]) -> _Made:
    """Do something in a thread that ends with it: what it did to itself is over then."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()
