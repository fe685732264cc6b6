"""The meters that a switch must have: compared with those of ours that it has. Pure."""

from collections.abc import Mapping, Sequence

from alcor.data_plane.ovs.messages import MeterCommand
from alcor.data_plane.pipeline.flow import Meter

MeterChange = tuple[MeterCommand, Meter]


def missing(wanted: Mapping[int, Meter], held: Mapping[int, Meter]) -> Sequence[MeterChange]:
    """Say what is to be added or changed, by id. Before the flows that name them: those would pass anything."""
    return [
        (MeterCommand.MODIFY if number in held else MeterCommand.ADD, meter)
        for number, meter in sorted(wanted.items())
        if held.get(number) != meter
    ]


def strangers(wanted: Mapping[int, Meter], held: Mapping[int, Meter]) -> Sequence[MeterChange]:
    """Say what is to be deleted, by id: what other releases had. After the flows that name them are gone."""
    return [(MeterCommand.DELETE, held[number]) for number in sorted(held.keys() - wanted.keys())]
