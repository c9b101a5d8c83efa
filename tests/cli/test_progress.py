"""The progress bar keeps to stderr, and to terminals."""

from __future__ import annotations

from throughput.cli.progress import progress_bar


def work():
    with progress_bar() as progress:
        for done in range(3):
            progress("scanning [shards]", done, 2)
        progress("waiting", 0, None)


def test_nothing_is_drawn_where_stderr_is_no_terminal(capsys, monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    work()
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_drawn_on_stderr(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    work()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "scanning [shards]" in captured.err
    assert "100%" in captured.err
