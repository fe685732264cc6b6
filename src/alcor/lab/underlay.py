"""The network between the hosts: a namespace with one Linux bridge."""

from alcor.lab import namespaces

# Room for the 50 bytes of VXLAN around a workload's 1450, and to spare.
UNDERLAY_MTU = 1600
BRIDGE = "br0"
ADDRESS, PREFIX_LEN = "172.31.255.254", 16  # among the hosts' tunnel addresses, far from those that are given


class Underlay:
    """A bridge in a namespace of its own. Owner of the namespace. What runs there is reached at `address`."""

    address = ADDRESS

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def start(self) -> None:
        """Make the namespace and its bridge."""
        namespaces.batch([f"netns add {self.namespace}"])
        namespaces.batch(
            [
                f"link add {BRIDGE} mtu {UNDERLAY_MTU} type bridge",
                f"link set {BRIDGE} up",
                "link set lo up",
                f"addr add {ADDRESS}/{PREFIX_LEN} dev {BRIDGE}",
            ],
            namespace=self.namespace,
        )

    def connect(self, hosts: list[tuple[str, str]]) -> None:
        """Plug hosts in. `hosts`: (namespace, name of the end at the bridge); the other end is `eth0`."""
        pair = "link add {end} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {host}"
        lines = []
        for host, end in hosts:
            lines.append(pair.format(end=end, mtu=UNDERLAY_MTU, host=host))
            lines.append(f"link set {end} master {BRIDGE} up")
        namespaces.batch(lines, namespace=self.namespace)
