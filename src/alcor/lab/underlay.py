"""The network between the hosts: a namespace with one Linux bridge."""

from alcor.lab import namespaces

# Room for the 50 bytes of VXLAN around a workload's 1450, and to spare.
UNDERLAY_MTU = 1600


class Underlay:
    """A bridge in a namespace of its own. Owner of the namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def start(self) -> None:
        """Make the namespace and its bridge."""
        namespaces.batch([f"netns add {self.namespace}"])
        namespaces.batch(
            [f"link add br0 mtu {UNDERLAY_MTU} type bridge", "link set br0 up", "link set lo up"],
            namespace=self.namespace,
        )

    def connect(self, hosts: list[tuple[str, str]]) -> None:
        """Plug hosts in. `hosts`: (namespace, name of the end at the bridge); the other end is `eth0`."""
        pair = "link add {end} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {host}"
        lines = []
        for host, end in hosts:
            lines.append(pair.format(end=end, mtu=UNDERLAY_MTU, host=host))
            lines.append(f"link set {end} master br0 up")
        namespaces.batch(lines, namespace=self.namespace)
