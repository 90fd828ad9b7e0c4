"""Whatever is killed, and whenever: after `resume` the records are those of an undisturbed search."""

import fcntl
import os
import pty
import random
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest
from searches import (
    BEATING_OFTEN,
    SETTINGS,
    Kept,
    alive,
    alphaprune,
    check_whole,
    ended,
    is_worker,
    run,
    start,
    wait_for,
    worker_pids,
)

from records.driver import FILE_NAME, LOCK_NAME, read_driver
from records.experiment import ExperimentFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRIALS = 10  # 3 controls and 7 trials, so that even on a fast machine something is left to be killed
FEW = "search.trials=4"  # where the search is stopped in its first trial
LONG = SETTINGS.replace("trials = 8", f"trials = {TRIALS - 3}")


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "search.toml"
    path.write_text(LONG)
    return path


def epochs_done(folder: ExperimentFolder) -> int:
    return sum(len(trial.read_rows()) for trial in folder.trial_folders())


def pause(seconds: float, folder: ExperimentFolder) -> None:
    """Waits that long, but no longer than the search runs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and len(list(folder.trial_folders())) < TRIALS - 3:
        time.sleep(0.05)


def finish(folder: ExperimentFolder, *how: str, trials: int = TRIALS) -> None:
    result = run("resume", folder.path.name, "--storage", folder.path.parent, *how)
    assert result.returncode == 0, result.stderr
    check_whole(folder, trials=trials)


@pytest.mark.parametrize(
    ("seed", "how", "stopping", "signals"),
    [
        (1, [], False, [signal.SIGKILL, signal.SIGKILL]),
        (2, [], False, [signal.SIGTERM, signal.SIGINT]),
        (3, ["--local"], True, [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]),
    ],
    ids=["cluster-killed", "cluster-interrupted", "local"],
)
def test_the_driver_dies(
    tmp_path: Path, settings: Path, seed: int, how: list[str], stopping: bool, signals: list[signal.Signals]
) -> None:
    draw = random.Random(seed)
    folder = ExperimentFolder(tmp_path / "search")
    if stopping:
        settings.write_text(LONG.replace("{ enabled = false }", "{ enabled = true, first = 0.3 }"))
    kept = Kept(folder)
    for kill, number in enumerate(signals):
        command = ["resume", "search"] if folder.record_path.exists() else ["run", str(settings)]
        log = tmp_path / f"log-{kill}"
        before = {trial.number: trial.read_record().config for trial in folder.trial_folders()}
        driver = start(*command, "--storage", tmp_path, *how, log=log)
        with ended(driver):
            # Every other kill comes at any moment after the start, the others once an epoch has been recorded.
            if kill % 2:
                done = epochs_done(folder)
                wait_for(lambda done=done: epochs_done(folder) > done, what="an epoch")  # type: ignore[misc]
                pause(draw.uniform(0, 2), folder)
            else:
                pause(draw.uniform(2, 10), folder)
            assert driver.poll() is None, log.read_text()
            workers = worker_pids(folder)
            driver.send_signal(number)
            code = driver.wait(timeout=60)
            # Workers that lost their driver stop by themselves.
            wait_for(lambda w=workers: not any(alive(pid) for pid in w.values()), seconds=30, what="workers to stop")  # type: ignore[misc]
        if number == signal.SIGKILL:
            assert code == -signal.SIGKILL
        else:
            assert code == 128 + number, log.read_text()
            last = log.read_text().strip().splitlines()[-1]
            resume = " ".join([f"alphaprune resume search --storage {tmp_path}", *how])
            if folder.record_path.exists():
                assert last == resume
            else:
                assert last in ("nothing has been started", f"alphaprune: interrupted by {number.name}")
            assert "Traceback" not in log.read_text()
        kept.look()
        for old, config in before.items():
            assert folder.trial_folder(old).read_record().config == config
    finish(folder, *how)
    kept.check()
    assert stopping == any(trial.read_record().state == "stopped" for trial in folder.trial_folders())


def test_workers_die(tmp_path: Path, settings: Path) -> None:
    draw = random.Random(4)
    folder = ExperimentFolder(tmp_path / "search")
    log = tmp_path / "log"
    driver = start("run", settings, "--storage", tmp_path, log=log)
    killed: list[int] = []
    kept = Kept(folder)
    with ended(driver):
        end = time.monotonic() + 400
        while len(killed) < 3:
            assert time.monotonic() < end, f"killed only {killed}"
            pids = wait_for(lambda: {n: p for n, p in worker_pids(folder).items() if is_worker(p)}, what="a worker")
            number, pid = draw.choice(sorted(pids.items()))
            # No trial is killed more often than it is restarted.
            if killed.count(number) < 2 and folder.trial_folder(number).read_rows():
                driver.send_signal(signal.SIGSTOP)  # so that nothing continues before it has been checked
                os.kill(pid, signal.SIGKILL)
                killed.append(number)
                wait_for(lambda pid=pid: not alive(pid), what="its death")  # type: ignore[misc]
                kept.look()
                driver.send_signal(signal.SIGCONT)
            time.sleep(draw.uniform(0, 1))
        assert driver.wait(timeout=240) == 0, log.read_text()
    check_whole(folder, trials=TRIALS)
    kept.check()
    attempts = {trial.number: trial.read_record().attempt for trial in folder.trial_folders()}
    assert all(attempts[number] >= 1 + killed.count(number) for number in killed)


def running_worker(folder: ExperimentFolder, number: int) -> int | None:
    """The worker of a trial that has done an epoch."""
    pid = worker_pids(folder).get(number)
    return pid if pid and is_worker(pid) and folder.trial_folder(number).read_rows() else None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_is_killed_is_no_failure_of_its_trial(
    tmp_path: Path, settings: Path, number: signal.Signals
) -> None:
    folder = ExperimentFolder(tmp_path / "search")
    few = ["--set", "search.trials=1", "--set", "search.max_failures=0", "--concurrency", "1"]
    driver = start("run", settings, "--storage", tmp_path, *few, log=tmp_path / "log")
    with ended(driver):
        for _ in range(2):
            pid = wait_for(lambda: running_worker(folder, 1), what="trial 1")
            os.kill(pid, number)
            wait_for(lambda pid=pid: worker_pids(folder).get(1) != pid, what="what follows")  # type: ignore[misc]
        assert driver.wait(timeout=240) == 0, (tmp_path / "log").read_text()
    assert folder.trial_folder(1).read_record().attempt == 3
    check_whole(folder, trials=4)


def test_a_trial_whose_worker_always_dies_fails_and_is_retried_on_request(tmp_path: Path, settings: Path) -> None:
    folder = ExperimentFolder(tmp_path / "search")
    log = tmp_path / "log"
    few = ["--set", "search.trials=1", "--set", "search.max_preemptions=1", "--concurrency", "1"]
    driver = start("run", settings, "--storage", tmp_path, *few, log=log)
    with ended(driver):
        for _ in range(2):
            pid = wait_for(lambda: running_worker(folder, 1), what="trial 1")
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda pid=pid: worker_pids(folder).get(1) != pid, what="what follows")  # type: ignore[misc]
        assert driver.wait(timeout=240) == 0, log.read_text()
    record = folder.trial_folder(1).read_record()
    assert record.state == "failed"
    assert record.error is not None
    assert "process was lost 2 times" in record.error
    assert "trial 1 failed" in log.read_text()
    assert [trial.read_record().state for trial in folder.trial_folders()] == [
        "complete",
        "failed",
        "complete",
        "complete",
    ]
    rows = len(folder.trial_folder(1).read_rows())
    result = run("resume", "search", "--storage", tmp_path, "--retry-failed")
    assert result.returncode == 0, result.stderr
    assert rows > 0
    check_whole(folder, trials=4)


def test_an_expired_time_budget_ends_the_search_successfully(tmp_path: Path, settings: Path) -> None:
    folder = ExperimentFolder(tmp_path / "search")
    for budget in ("8s", "16s", "32s", "64s"):  # on a busy machine, nothing may have been started after the first
        result = run("run", settings, "--storage", tmp_path, "--local", "--time-budget", budget)
        assert result.returncode == 0, result.stderr
        assert "time budget" in result.stderr
        if folder.record_path.exists():
            break
    assert result.stderr.strip().splitlines()[-1] == f"alphaprune resume search --storage {tmp_path} --local"
    kept = Kept(folder)
    kept.look()
    finish(folder, "--local")
    kept.check()


def test_a_second_driver_is_refused(tmp_path: Path, settings: Path) -> None:
    folder = ExperimentFolder(tmp_path / "search")
    kept = ["--set", "search.keep_at_alpha=[0.5]", "--set", FEW]  # the checkpoint that a branch needs
    driver = start("run", settings, "--storage", tmp_path, "--local", *kept, log=tmp_path / "log")
    with ended(driver):
        wait_for(lambda: folder.trial_folder(1).path.exists(), what="the end of trial 0")
        driver.send_signal(signal.SIGSTOP)  # or it might be done before the others reach the lock
        for how in ([], ["--local"]):
            result = run("resume", "search", "--storage", tmp_path, *how)
            assert result.returncode == 2
            assert f"process {driver.pid} on " in result.stderr
        branch = run("branch", "search", 0, "--at-alpha", "0.5", "--storage", tmp_path)
        assert branch.returncode == 2
        assert f"process {driver.pid} on " in branch.stderr
        driver.kill()
        driver.wait()
    assert run("resume", "search", "--storage", tmp_path, "--local").returncode == 0
    for checkpoint in folder.trials_path.glob("*/checkpoint-*.pt"):
        checkpoint.unlink()  # those that were to be kept; `finish` expects none
    finish(folder, "--local", trials=3 + 4)


def test_a_second_driver_is_refused_although_the_lock_file_is_gone(tmp_path: Path, settings: Path) -> None:
    """And what a trial has done since its newest checkpoint, here all of it, is done again the same."""
    folder = ExperimentFolder(tmp_path / "search")
    rarely = ["--set", "search.checkpoint_seconds=1000"]
    where = ("--storage", tmp_path, "--local")
    driver = start("run", settings, *where, *rarely, "--set", FEW, log=tmp_path / "log", program=BEATING_OFTEN)
    with ended(driver):
        wait_for(lambda: epochs_done(folder) > 4, what="five epochs")
        (folder.path / LOCK_NAME).unlink()
        refused = alphaprune("resume", "search", *where, code=2)  # in this process, or the first might be done before
        assert f"process {driver.pid} on " in refused.stderr
        assert driver.poll() is None
        driver.kill()
        driver.wait()
    finish(folder, "--local", trials=3 + 4)


@pytest.mark.parametrize("how", [[], ["--local"]], ids=["cluster", "local"])
def test_a_driver_that_seemed_to_be_dead_leaves_the_experiment_to_its_successor(
    tmp_path: Path, settings: Path, how: list[str]
) -> None:
    """It was stopped for a while, and locks do not reach (the lock file is gone)."""
    folder, log = ExperimentFolder(tmp_path / "search"), tmp_path / "log"
    first = start("run", settings, "--storage", tmp_path, *how, "--set", FEW, log=log)
    with ended(first):
        wait_for(lambda: epochs_done(folder), what="an epoch")
        first.send_signal(signal.SIGSTOP)
        (folder.path / LOCK_NAME).unlink()
        os.utime(folder.path / FILE_NAME, (1.0, 1.0))
        second = start("resume", "search", "--storage", tmp_path, *how, log=tmp_path / "second")
        with ended(second):
            wait_for(lambda: read_pid(folder) == second.pid, what="the second driver")
            first.send_signal(signal.SIGCONT)
            assert first.wait(timeout=120) == 1, log.read_text()
            assert second.wait(timeout=400) == 0, (tmp_path / "second").read_text()
    *_, last = log.read_text().strip().splitlines()
    assert last.startswith("alphaprune: 'search' is now being run by ")
    assert "Traceback" not in log.read_text()
    check_whole(folder, trials=3 + 4)


def read_pid(folder: ExperimentFolder) -> int | None:
    driver = read_driver(folder)
    return None if driver is None else driver.pid


def test_a_closed_terminal_interrupts(tmp_path: Path, settings: Path) -> None:
    folder = ExperimentFolder(tmp_path / "search")
    screen, terminal = pty.openpty()
    driver = subprocess.Popen(
        [sys.executable, "-m", "alphaprune", "run", settings, "--storage", tmp_path, "--local", "--set", FEW],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(terminal, termios.TIOCSCTTY, 0),
    )
    os.close(terminal)
    os.set_blocking(screen, False)
    shown = b""

    def has_epoch() -> bool:
        nonlocal shown
        with suppress(BlockingIOError):
            shown += os.read(screen, 1 << 16)  # or the terminal would be full at some time
        return bool(epochs_done(folder))

    with ended(driver):
        wait_for(has_epoch, what="an epoch")
        os.close(screen)
        assert driver.wait(timeout=60) == 128 + signal.SIGHUP, shown
    record = read_driver(folder)
    assert record is not None
    assert record.reason == "interrupted by SIGHUP"
    finish(folder, "--local", trials=3 + 4)


def test_early_stopping_continues_where_it_was(tmp_path: Path, settings: Path) -> None:
    """Stopped trials stay stopped, and the rungs include them."""
    folder = ExperimentFolder(tmp_path / "search")
    stop = [f"--set=search.early_stopping.{each}" for each in ("enabled=true", "first=0.3", "reduction=4")]
    result = run("run", settings, "--storage", tmp_path, "--local", *stop)
    assert result.returncode == 0, result.stderr
    stopped = [trial.number for trial in folder.trial_folders() if trial.read_record().state == "stopped"]
    assert stopped
    result = run("resume", "search", "--storage", tmp_path, "--local", "--trials", TRIALS + 1)
    assert result.returncode == 0, result.stderr
    assert [n for n in stopped if folder.trial_folder(n).read_record().state != "stopped"] == []
    check_whole(folder, trials=3 + TRIALS + 1)
