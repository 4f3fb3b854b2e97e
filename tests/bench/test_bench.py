"""The benchmark runs; what it measures is nobody's promise here."""

from tests.bench.__main__ import main


def test_the_benchmark_runs_and_prints_a_table(capsys):
    """With little to do."""
    main(["--rounds", "1", "--messages", "100", "--schemes", "wss", "--ways", "get,handler"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[1:]] == ["way", "---", "naive", "get", "handler"]
