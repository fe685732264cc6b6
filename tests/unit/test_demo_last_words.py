"""What a demonstration that broke says of its parts."""

from pathlib import Path

from alcor.demo.last_words import LINE_MAX, LINES, TAIL_BYTES, last_words


def test_the_last_lines_of_each_log_are_given_with_its_name(tmp_path: Path) -> None:
    long = tmp_path / "agent-h1.log"
    long.write_text("x" * 2 * TAIL_BYTES + "\n" + "".join(f"line {number}\n" for number in range(9)))
    (tmp_path / "region.log").write_text("y" * 2 * LINE_MAX)
    said = list(last_words([tmp_path / "region.log", tmp_path / "none.log", long]))
    assert said == [f"agent-h1: line {number}" for number in range(9 - LINES, 9)] + [
        f"region: {'y' * LINE_MAX}"
    ]
