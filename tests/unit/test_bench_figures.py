"""Figures of benchmarks: ratios with their intervals, and a chart for each kind of results."""

from pathlib import Path

from alcor.bench import charts, ratios
from alcor.bench.neighbours import Neighbours
from alcor.bench.paths import Floor, MeasuredPath, Paths
from alcor.bench.report import Environment, Results
from alcor.bench.switch_neighbours import SwitchNeighbours
from alcor.lab.percentiles import Milliseconds

WHERE = Environment("abc", 2, "machine", "3.11", 0.0)
TIMES = Milliseconds(10, 1.0, 2.0, 3.0, 4.0)
ON_SWITCH = SwitchNeighbours(5, TIMES, 1.0, 1.0, 1.0, 1.0, 600.0)


def test_a_ratio_lies_in_its_interval_and_is_that_of_the_medians() -> None:
    ratio = ratios.of_medians([2.0, 2.2, 2.1, 9.0, 2.0], [1.0, 1.1, 1.0, 1.2, 0.9])
    assert ratio.value == 2.1
    assert ratio.low <= ratio.value <= ratio.high
    assert ratio.samples == 5


def test_equal_sides_are_not_told_apart() -> None:
    values = [1.0 + number % 7 / 10 for number in range(50)]
    ratio = ratios.of_medians(values, list(reversed(values)))
    assert ratio.low <= 1.0 <= ratio.high


def test_quartiles_are_of_the_sorted_figures() -> None:
    assert ratios.quartiles([5.0, 1.0, 4.0, 2.0, 3.0]) == ratios.Quartiles(2.0, 3.0, 4.0)


def test_every_panel_has_a_value_for_each_label(tmp_path: Path) -> None:
    path = MeasuredPath("fast", 100, TIMES, TIMES, 1.0, 10.0, 2.0, ())
    some: list[Results] = [
        Paths(WHERE, Floor(0.1, 5.0), (path,)),
        Neighbours(WHERE, 100, 2, TIMES, 1000, 1.0, 1.0, 1.0, 1.0, 300.0, 5.0, 900.0, ON_SWITCH),
    ]
    for number, results in enumerate(some):
        for panel in results.panels():
            assert {len(values) for values in panel.series.values()} == {len(panel.labels)}
        assert all(table.row_count for table in results.tables())
        file = tmp_path / f"{number}.svg"
        charts.write(results, file)
        assert file.read_text().count("<path") > 10
