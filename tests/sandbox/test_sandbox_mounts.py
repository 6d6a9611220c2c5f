"""How containers see their mounts: real paths in a namespace of their own, or rewritten paths where that is refused."""

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atoll.sandbox.kubelet.logs import ContainerLog, LogQuery
from atoll.sandbox.kubelet.paths import Mount, MountRefused, checked_target, rewritten, within
from atoll.sandbox.kubelet.process import Launch, Launcher, probe_isolation, restored


@pytest.fixture(params=["mounts", "rewrite"])
async def launcher(request: pytest.FixtureRequest) -> AsyncIterator[Launcher]:
    """Give a launcher of each isolation that this machine has."""
    mode, reason = await probe_isolation()
    if request.param == "mounts" and mode != "mounts":
        pytest.skip(f"this machine refuses mount namespaces: {reason}")
    made = Launcher(request.param)
    yield made
    made.close()


@pytest.fixture
async def isolating() -> AsyncIterator[Launcher]:
    """Give a launcher with mount namespaces."""
    mode, reason = await probe_isolation()
    if mode != "mounts":
        pytest.skip(f"this machine refuses mount namespaces: {reason}")
    made = Launcher(mode)
    yield made
    made.close()


async def _run(launcher: Launcher, folder: Path, script: str, *mounts: Mount, **env: str) -> tuple[int, str]:
    folder.mkdir()
    log = ContainerLog(folder / "log", lambda: datetime.now(UTC))
    process = await launcher.start(Launch(["sh", "-c", script], env, folder, "", mounts), log)
    code = await process.ended
    return code, b"".join([line async for line in log.read(LogQuery())]).decode()


async def test_a_container_uses_its_mount_path_in_either_isolation(launcher: Launcher, tmp_path: Path) -> None:
    """Command, arguments and environment may name the mountPath, and the data is in the volume's folder."""
    volume = tmp_path / "volume"
    volume.mkdir()
    mount = Mount(volume, "/atoll-test/data")
    script = 'echo hello > /atoll-test/data/a && cat "$WHERE/a"'
    code, said = await _run(launcher, tmp_path / "c", script, mount, WHERE="/atoll-test/data")
    assert (code, said) == (0, "hello\n")
    assert (volume / "a").read_text() == "hello\n"
    assert not Path("/atoll-test").exists()


async def test_mounts_below_directories_of_the_machine_change_nothing_there(
    isolating: Launcher, tmp_path: Path
) -> None:
    """A mountPath inside /etc is seen only by the container, beside the machine's own files."""
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "f").write_text("mine")
    target = "/etc/atoll-test/deep/er"
    code, said = await _run(isolating, tmp_path / "c", f"cat {target}/f && test -e /etc/passwd", Mount(volume, target))
    assert (code, said) == (0, "mine")
    assert not Path("/etc/atoll-test").exists()


async def test_a_volume_over_a_parent_of_this_interpreter_does_not_hide_it(isolating: Launcher, tmp_path: Path) -> None:
    """As an emptyDir at /tmp with a checkout below it; what is written beside it is in the volume, twice in a row."""
    volume, target = tmp_path / "volume", f"/{Path(sys.prefix).parts[1]}"
    volume.mkdir()
    for number in ("1", "2"):
        script = f"cd {target} && python -c 'import atoll.sandbox' && echo x > kept{number} && ! touch {sys.prefix}/x"
        code, said = await _run(isolating, tmp_path / number, script, Mount(volume, target))
        assert code == 0, said
    assert {"kept1", "kept2"} <= {each.name for each in volume.iterdir()}


# narrative: folders of programs, where a volume is mounted → the folders that are shown again
HIDDEN: dict[str, tuple[tuple[str, ...], str, list[str]]] = {
    "a volume elsewhere": (("/tmp/x/.venv",), "/data", []),
    "a volume above": (("/tmp/x/.venv", "/usr"), "/tmp", ["/tmp/x/.venv"]),
    "one program within another": (("/tmp/x/.venv", "/tmp/x"), "/tmp", ["/tmp/x"]),
    "a name that only begins the same": (("/tmpfs/x",), "/tmp", []),
    "a volume at the very folder hides it on purpose": (("/tmp/x",), "/tmp/x", []),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_programs_below_a_volume_are_shown_again(case: str) -> None:
    """At their own places, read-only, the outermost folders alone."""
    programs, target, expected = HIDDEN[case]
    found = restored([Mount(Path("/v"), target)], [Path(each) for each in programs])
    assert found == tuple(Mount(Path(each), each, is_read_only=True) for each in expected)


async def test_a_read_only_mount_cannot_be_written(isolating: Launcher, tmp_path: Path) -> None:
    """Writing to a read-only mount fails in a namespace of its own; the fallback is documented not to hold it."""
    volume = tmp_path / "volume"
    volume.mkdir()
    code, said = await _run(isolating, tmp_path / "c", "echo x > /ro/x", Mount(volume, "/ro", is_read_only=True))
    assert code != 0
    assert "Read-only file system" in said


async def test_a_single_file_is_mounted_over_its_path(launcher: Launcher, tmp_path: Path) -> None:
    """A mount whose source is a file appears as that file."""
    source = tmp_path / "f.conf"
    source.write_text("one key")
    code, said = await _run(launcher, tmp_path / "c", "cat /conf/app.conf", Mount(source, "/conf/app.conf"))
    assert (code, said) == (0, "one key")


async def test_a_command_that_is_missing_or_not_executable_has_the_shells_exit_code(tmp_path: Path) -> None:
    """127 for a program that is not there, 126 for one that may not be run, and a line that says so."""
    (tmp_path / "plain").write_text("text")
    launcher = Launcher("none")
    codes = []
    for index, program in enumerate(("/no/such/program", str(tmp_path / "plain"))):
        folder = tmp_path / str(index)
        folder.mkdir()
        log = ContainerLog(folder / "log", lambda: datetime.now(UTC))
        process = await launcher.start(Launch([program], {}, folder), log)
        codes.append(await process.ended)
        assert b"cannot start" in b"".join([line async for line in log.read(LogQuery())])
    launcher.close()
    assert codes == [127, 126]


async def test_closing_the_launcher_ends_everything_at_once(tmp_path: Path) -> None:
    """The lifeline closes and the container is killed, though nobody sent it a signal."""
    launcher = Launcher("none")
    log = ContainerLog(tmp_path / "log", lambda: datetime.now(UTC))
    process = await launcher.start(Launch(["sleep", "300"], {}, tmp_path), log)
    await asyncio.sleep(0.2)
    launcher.close()
    async with asyncio.timeout(5):
        assert await process.ended == 137


async def test_the_folder_of_this_python_comes_first_on_the_path(tmp_path: Path) -> None:
    """`python` in a container is the interpreter that runs the sandbox."""
    launcher = Launcher("none")
    code, said = await _run(launcher, tmp_path / "c", "command -v python")
    launcher.close()
    assert (code, said.strip()) == (0, str(Path(sys.executable).parent / "python"))


REWRITES = {
    "whole path": ("/data", "/h/v"),
    "below": ("/data/x.csv", "/h/v/x.csv"),
    "as an option": ("--in=/data/x", "--in=/h/v/x"),
    "in a list": ("/data:/out", "/h/v:/h/o"),
    "another name": ("/database/x /data-old /mnt/data", "/database/x /data-old /mnt/data"),
    "the longer mount": ("/data/sub/x", "/h/s/x"),
    "in code": ("open('/data/a')", "open('/h/v/a')"),
}


@pytest.mark.parametrize("case", REWRITES)
def test_the_fallback_rewrites_whole_path_prefixes_only(case: str) -> None:
    """Without namespaces a mountPath becomes the host's folder, and look-alikes stay."""
    mounts = [Mount(Path("/h/v"), "/data"), Mount(Path("/h/o"), "/out"), Mount(Path("/h/s"), "/data/sub")]
    text, expected = REWRITES[case]
    assert rewritten(text, mounts) == expected


@pytest.mark.parametrize("sub_path", ["../other", "a/../../other", "/etc", "link/x"])
def test_a_sub_path_never_leaves_its_volume(tmp_path: Path, sub_path: str) -> None:
    """Dots, absolute paths and symbolic links that lead out are refused, and nothing is made outside."""
    volume, other = tmp_path / "volume", tmp_path / "other"
    volume.mkdir()
    other.mkdir()
    (volume / "link").symlink_to(other)
    with pytest.raises(MountRefused, match="subPath"):
        within(volume, sub_path)
    assert list(other.iterdir()) == []


@pytest.mark.parametrize("path", ["data", "/", "/a/../b", "/a:b"])
def test_a_mount_path_must_be_absolute_and_plain(path: str) -> None:
    """What is no absolute path, or the root itself, is refused with the path in the message."""
    with pytest.raises(MountRefused, match="mountPath"):
        checked_target(path)
