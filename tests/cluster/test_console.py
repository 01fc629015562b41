"""What a person and a program see: exit codes, one-line errors, results."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import tyro

import cluster.console
from cluster import storage
from cluster.console import (
    SECONDS_BETWEEN_LINES,
    SECONDS_WITHOUT_PROGRESS,
    Command,
    meter,
    print_result,
    progress_bar,
    run_cli,
)
from cluster.errors import InputError, Refusal

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kiln:
    """A kiln."""

    heat: float = 900.0
    """Degrees."""

    def __post_init__(self) -> None:
        if self.heat <= 0:
            raise InputError(f"heat must be > 0, got {self.heat}; turn it up")


def fire(name: str, *, pots: int = 3, kiln: Annotated[Kiln, tyro.conf.arg(name="")] = Kiln()) -> None:
    """Fire some pots.

    Args:
        name: Whose pots.
        pots: How many.
        kiln: The kiln.
    """
    if pots > 5:
        raise InputError(f"{pots} pots do not fit;\n   give --pots 5 or fewer")
    if pots < 0:
        raise KeyboardInterrupt
    if pots == 0:
        raise RuntimeError("a bug")
    if pots == 4:
        raise ValueError("operands could not be broadcast together")
    if pots == 5:
        raise Refusal("five pots are one too many:\n two are cracked")
    print_result({"name": name, "pots": pots, "heat": kiln.heat})


COMMANDS = {"fire": Command("tests.cluster.test_console:fire", "Fire some pots.")}


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        run_cli("prog", COMMANDS, list(argv))
    streams = capsys.readouterr()
    return stop.value.code, streams.out, streams.err


def test_a_good_command_prints_its_result_as_json(capsys: pytest.CaptureFixture[str]):
    code, out, err = run(capsys, "fire", "--name", "ann", "--heat", "1000")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"name": "ann", "pots": 3, "heat": 1000.0}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["fire", "--name", "ann", "--pots", "9"], "9 pots do not fit; give --pots 5 or fewer"),
        (["fire", "--name", "ann", "--heat", "-3"], "heat must be > 0, got -3.0; turn it up"),
        (["fire", "--name", "ann", "--pots", "many"], "many"),
        (["fire", "--name", "ann", "--haet", "5"], "--haet"),
        (["fire"], "--name"),
        (["glaze"], "prog has no command 'glaze'; it has: fire"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_two(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, argv: list[str], message: str
):
    monkeypatch.delenv("PERENNIAL_TRACEBACK", raising=False)
    code, out, err = run(capsys, *argv)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    assert message in err
    assert not set(err) & set("│╭╮╰╯─"), "no box is left around the message"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_an_unknown_option_gets_a_suggestion(encoding: str):
    """In a new process, because the encoding of the terminal decides how tyro draws its box."""
    program = (
        "import sys; from cluster.console import run_cli; from tests.cluster.test_console import COMMANDS;"
        "run_cli('prog', COMMANDS, ['fire', '--name', 'ann', '--haet', '5'])"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: Unrecognized options: --haet, 5; perhaps you meant --heat; --help lists the options\n"
    )


@pytest.mark.parametrize(("pots", "message"), [("0", "a bug"), ("4", "could not be broadcast")])
def test_a_bug_is_not_dressed_up_as_wrong_input(pots: str, message: str):
    """Nor is a `ValueError` of a library: its traceback is what mends it."""
    with pytest.raises((RuntimeError, ValueError), match=message):
        run_cli("prog", COMMANDS, ["fire", "--name", "ann", "--pots", pots])


def write(out: str, *, number: int = 0) -> None:
    """Write somewhere.

    Args:
        out: Where.
        number: Of the error that comes, if it is none of this machine's own.
    """
    if number:
        raise OSError(number, os.strerror(number), *([out] if out else []))
    storage.write_bytes(out, b"x")


WRITE = {"write": Command("tests.cluster.test_console:write", "Write somewhere.")}


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "allow it, or give another place"),
        (errno.EPERM, "allow it, or give another place"),
        (errno.EROFS, "allow it, or give another place"),
        (errno.ENOSPC, "make room and run the same command again, or give another place"),
        (errno.EDQUOT, "make room and run the same command again, or give another place"),
        (errno.EISDIR, "give another place"),
    ],
)
@pytest.mark.parametrize("place", ["/mnt/out", ""])
def test_a_disk_that_refuses_is_input(number: int, remedy: str, place: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        run_cli("prog", WRITE, ["write", "--out", place, "--number", str(number)])
    where = f"{place}: " if place else ""
    assert (stop.value.code, capsys.readouterr()) == (2, ("", f"error: {where}{os.strerror(number)}; {remedy}\n"))


def test_a_folder_below_a_file_and_a_file_in_place_of_a_folder_are_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for out, named in ("file/run/x.json", "file"), ("file/x.json", "file"), ("folder", "folder"):
        with pytest.raises(SystemExit) as stop:
            run_cli("prog", WRITE, ["write", "--out", str(tmp_path / out)])
        err = capsys.readouterr().err
        assert (stop.value.code, len(err.splitlines())) == (2, 1)
        assert err.startswith(f"error: {tmp_path / named}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"], "nothing is left beside them"


def test_a_full_disk_names_the_file_that_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    """/dev/full is a disk without room."""
    full = open("/dev/full", "wb")  # noqa: SIM115 - closed by what writes
    monkeypatch.setattr("builtins.open", lambda path, mode: full)
    with pytest.raises(SystemExit) as stop:
        run_cli("prog", WRITE, ["write", "--out", str(tmp_path / "x.json")])
    monkeypatch.undo()
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'x.json'}: No space left on device; make room")


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EBADF, errno.EPIPE])
def test_other_errors_of_the_system_are_bugs(number: int):
    with pytest.raises(OSError, match=r"\[Errno"):
        run_cli("prog", WRITE, ["write", "--out", "/mnt/out", "--number", str(number)])


def test_an_answer_of_no_has_an_exit_code_of_its_own(capsys: pytest.CaptureFixture[str]):
    assert run(capsys, "fire", "--name", "ann", "--pots", "5") == (
        3,
        "",
        "no: five pots are one too many: two are cracked\n",
    )


def test_the_traceback_is_there_for_who_asks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PERENNIAL_TRACEBACK", "1")
    with pytest.raises(ValueError, match="9 pots"):
        run_cli("prog", COMMANDS, ["fire", "--name", "ann", "--pots", "9"])


def test_an_interrupt_says_how_to_go_on(capsys: pytest.CaptureFixture[str]):
    code, _, err = run(capsys, "fire", "--name", "ann", "--pots", "-1")
    assert code == 130
    assert "run the same command again to go on" in err


def test_help_lists_commands_and_options(capsys: pytest.CaptureFixture[str]):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "Fire some pots." in out
    code, out, _ = run(capsys)
    assert code == 2, "no command is no success"
    code, out, _ = run(capsys, "fire", "--help")
    assert code == 0
    for words in ("--name", "--pots", "--heat", "How many.", "Degrees."):
        assert words in out


def test_results_refuse_what_is_not_json():
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_result({"loss": float("nan")})


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cluster.console, "time", clock)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return clock


def test_without_a_terminal_progress_is_a_line_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]):
    printed: list[float] = []
    with progress_bar() as bar:
        task = bar.add_task("cutting", total=100, note="")
        for number in range(1, 100):
            bar.update(task, advance=1, note=f"[a] {number}.mp4: 3 crops")
            lines = capsys.readouterr().err.splitlines()
            assert len(lines) <= 1
            if lines:
                assert lines[0].startswith(f"cutting: {number} of 100")
                assert lines[0].endswith(f"[a] {number}.mp4: 3 crops"), "nothing in a name is markup"
                printed.append(clock.now)
            clock.now += 1.0
    # One a second from 1000 s on; the first line comes at once.
    assert printed == [1000 + SECONDS_BETWEEN_LINES * turn for turn in range(7)]


def test_without_a_terminal_the_end_is_told_once(clock: Clock, capsys: pytest.CaptureFixture[str]):
    with progress_bar() as bar:
        task = bar.add_task("cutting", total=2, note="")
        bar.update(task, advance=1, note="first")
        clock.now += SECONDS_BETWEEN_LINES
        bar.update(task, advance=1, note="last")
        assert len(capsys.readouterr().err.splitlines()) == 1, "the end is not a line of its own"
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert "2/2" in err
    assert "last" in err


def test_a_meter_shows_nothing_of_what_is_short(clock: Clock, capsys: pytest.CaptureFixture[str]):
    with meter("reading", 3) as advance:
        for _ in range(3):
            clock.now += SECONDS_WITHOUT_PROGRESS / 4
            advance(1)
    assert capsys.readouterr() == ("", "")


def test_a_meter_counts_all_that_was_done_once_it_takes_a_while(clock: Clock, capsys: pytest.CaptureFixture[str]):
    with meter("reading", 100) as advance:
        advance(40)
        clock.now += SECONDS_WITHOUT_PROGRESS + 1
        advance(20)
        assert capsys.readouterr().err.startswith("reading: 60 of 100")
        advance(40)
    out, err = capsys.readouterr()
    assert out == ""
    assert "100/100" in err


def test_progress_without_a_known_end_counts(clock: Clock, capsys: pytest.CaptureFixture[str]):
    with progress_bar() as bar:
        task = bar.add_task("probing", total=None, note="")
        bar.update(task, completed=3, note="a.mp4")
        assert capsys.readouterr().err == "probing: 3  a.mp4\n"


def test_on_a_terminal_the_bar_alone_is_drawn(clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setattr(cluster.console, "is_live", lambda: True)
    with progress_bar() as bar:
        task = bar.add_task("cutting", total=100, note="")
        for number in range(1, 4):
            clock.now += SECONDS_BETWEEN_LINES
            bar.update(task, advance=1, note=f"{number}.mp4")
    assert "cutting: " not in capsys.readouterr().err
