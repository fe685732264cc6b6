"""A router's interface that is down routes and answers nothing: its hosts do not hold it."""

import msgspec

from alcor.contracts.store import Change
from alcor.control_plane.compiler.full import compile_full
from alcor.control_plane.compiler.incremental import IncrementalCompiler
from alcor.control_plane.region import Region
from alcor.model.goal_state import RouterChange, router_key
from alcor.model.ids import AddressScopeId, HostId, RequestId, RouterId, SubnetPoolId
from alcor.model.records import ROUTER_INTERFACE, Host, RecordSet, Router, SubnetPool
from doubles.control_plane import PROJECT, network, port, subnet

ROUTER = Router(id=RouterId("router"), project_id=PROJECT)
HOST = Host(id=HostId("h1"), project_id=PROJECT, vtep=b"\x0a\x00\x00\x01")
POOL = SubnetPool(
    id=SubnetPoolId("pool"), project_id=PROJECT, min_prefixlen=8, max_prefixlen=32, default_prefixlen=24
)
INTERFACE = port(9, device_owner=ROUTER_INTERFACE, device_id=ROUTER.id)


def test_an_interface_that_goes_down_leaves_its_hosts_and_comes_back() -> None:
    compiler = IncrementalCompiler(Region())
    compiler.load()
    first = RecordSet(
        networks=(network(),),
        subnets=(subnet(),),
        ports=(port(1, "h1"), INTERFACE),
        routers=(ROUTER,),
        hosts=(HOST,),
    )
    assert interfaces(compiler, first, 1) == {INTERFACE.id}
    down = msgspec.structs.replace(INTERFACE, admin_state_up=False)
    assert interfaces(compiler, RecordSet(ports=(down,)), 2) == set()
    assert interfaces(compiler, RecordSet(ports=(INTERFACE,)), 3) == {INTERFACE.id}


def test_legs_follow_the_address_scope_of_their_subnet_and_no_other_change_of_its_pool() -> None:
    compiler = IncrementalCompiler(Region())
    compiler.load()
    first = RecordSet(
        networks=(network(),),
        subnets=(msgspec.structs.replace(subnet(), subnetpool_id=POOL.id),),
        ports=(port(1, "h1"), INTERFACE),
        routers=(ROUTER,),
        hosts=(HOST,),
        subnetpools=(POOL,),
    )
    assert scopes(compiler, first, 1) == {""}
    scoped = msgspec.structs.replace(POOL, address_scope_id=AddressScopeId("scope"))
    assert scopes(compiler, RecordSet(subnetpools=(scoped,)), 2) == {"scope"}
    assert compiler.region.ports[INTERFACE.id].goal == 2, "in force where the host has acknowledged that"
    renamed = msgspec.structs.replace(scoped, name="other", revision_number=2)
    compiled = compiler.fold(
        Change(3, 0, RequestId("request"), PROJECT, RecordSet(subnetpools=(renamed,)), RecordSet())
    )
    assert not compiled.hosts
    assert scopes(compiler, RecordSet(subnets=(subnet(),)), 4) == {""}


def scopes(compiler: IncrementalCompiler, puts: RecordSet, revision: int) -> set[str]:
    assert interfaces(compiler, puts, revision) == {INTERFACE.id}
    section = compile_full(compiler.region, HOST.id)[router_key(ROUTER.id)]
    assert isinstance(section, RouterChange)
    return {interface.scope for interface in section.set_interfaces}


def interfaces(compiler: IncrementalCompiler, puts: RecordSet, revision: int) -> set[str]:
    compiled = compiler.fold(Change(revision, 0, RequestId("request"), PROJECT, puts, RecordSet()))
    assert HOST.id in compiled.hosts, "the host must hear of it"
    section = compile_full(compiler.region, HOST.id)[router_key(ROUTER.id)]
    assert isinstance(section, RouterChange)
    return {interface.port_id for interface in section.set_interfaces}
