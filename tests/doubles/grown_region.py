"""A compiler that has folded a large network, and the work that a change costs it."""

from alcor.contracts.store import Change
from alcor.control_plane.compiler.incremental import IncrementalCompiler, WorkCount
from alcor.control_plane.region import OnDemandBounds, Region
from alcor.model.ids import HostId, RequestId
from alcor.model.records import Host, RecordSet
from doubles.control_plane import PROJECT, group, network, port, rule, subnet

HOSTS = [f"host-{index}" for index in range(20)]
FEW, MANY = 1_000, 100_000
NOTHING = RecordSet()
TOLD_WHOLE = OnDemandBounds(above=1_000_000, below=1_000_000)


def changed(region: Region, puts: RecordSet = NOTHING, deletes: RecordSet = NOTHING) -> Change:
    return Change(region.revision + 1, 1, RequestId("r"), PROJECT, puts, deletes)


def grown(ports: int, bounds: OnDemandBounds = TOLD_WHOLE) -> IncrementalCompiler:
    """A network with so many ports in one group that names itself, on twenty hosts."""
    compiler = IncrementalCompiler(Region(bounds))
    records = RecordSet(
        networks=(network(),),
        subnets=(subnet(),),
        security_groups=(group("web"),),
        security_group_rules=(rule("r", "web", "web"),),
        hosts=tuple(
            Host(id=HostId(name), project_id=PROJECT, vtep=bytes([172, 16, 0, index]))
            for index, name in enumerate(HOSTS)
        ),
        ports=tuple(port(number, HOSTS[number % 20], groups=("web",)) for number in range(1, ports + 1)),
    )
    compiler.fold(changed(compiler.region, records))
    return compiler


def work(compiler: IncrementalCompiler, *steps: tuple[RecordSet, RecordSet]) -> list[WorkCount]:
    return [compiler.fold(changed(compiler.region, *step)).work for step in steps]
