"""The cables of a testbed: one bridge on the host, one veth pair a node.

pyroute2 is imported inside the functions: it costs a quarter of a second, and ``env`` and ``list`` need
none of it.
"""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import re
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from slurm.errors import SlurmError
from slurm.testbed.state import MAX_TESTBEDS, State

NODE_LINK = "eth0"
"""The name of a node's interface, as seen in the node."""

_CLONE_NEWNET = 0x40000000  # linux/sched.h


@dataclass(frozen=True, slots=True)
class LinkCounters:
    """What a node sent and received, in bytes and packets, read at the host's end of its veth pair."""

    sent_bytes: int
    received_bytes: int
    sent_packets: int
    received_packets: int


def free_index(taken: Collection[int]) -> int:
    """The first number whose network and interface names are unused on this host and not ``taken``.

    Raises:
        SlurmError: if there is none.
    """
    from pyroute2 import IPRoute

    with IPRoute() as route:
        links = {str(link.get("ifname")) for link in route.get_links()}
        used = [
            ipaddress.ip_network(f"{entry.get('dst')}/{entry['dst_len']}", strict=False)
            for entry in route.get_routes(family=2)
            if entry.get("dst")
        ]
    for index in range(MAX_TESTBEDS):
        subnet = ipaddress.ip_network(f"198.18.{index}.0/24")
        named = re.compile(rf"bb{index}(n\d+)?")
        if index in taken or any(named.fullmatch(link) for link in links):
            continue
        if not any(network.overlaps(subnet) for network in used):
            return index
    raise SlurmError(
        "no free network for a testbed in 198.18.0.0/16",
        hint="see what is up (bareboat testbed list) and take something down, or free that range (ip route)",
    )


def make_bridge(state: State, identity: str) -> None:
    """Make the testbed's bridge and give the host its address there.

    Raises:
        SlurmError: if the kernel refuses.
    """
    from pyroute2 import IPRoute, NetlinkError

    try:
        with IPRoute() as route:
            route.link("add", ifname=state.bridge, kind="bridge")
            index = route.link_lookup(ifname=state.bridge)[0]
            route.link("set", index=index, ifalias=_alias(identity))
            route.addr("add", index=index, address=state.address, prefixlen=24)
            route.link("set", index=index, state="up")
    except NetlinkError as error:
        raise SlurmError(f"the bridge {state.bridge} cannot be made: {error}") from error


def connect_node(state: State, node: str, pin: Path) -> None:
    """Lay the cable of one node into the network namespace that ``pin`` holds.

    Raises:
        SlurmError: if the kernel refuses.
    """
    from pyroute2 import IPRoute, NetlinkError

    link = state.node_link(node)
    try:
        with IPRoute() as route, pin.open() as namespace:
            peer = {"ifname": NODE_LINK, "net_ns_fd": namespace.fileno()}
            route.link("add", ifname=link, kind="veth", peer=peer)
            index = route.link_lookup(ifname=link)[0]
            bridge = route.link_lookup(ifname=state.bridge)[0]
            route.link("set", index=index, master=bridge, state="up")
        with ThreadPoolExecutor(max_workers=1) as thread:
            thread.submit(_address_node, pin, state.node_address(node)).result()
    except (NetlinkError, OSError) as error:
        raise SlurmError(f"the cable of node {node} ({link}) cannot be laid: {error}") from error


def _address_node(pin: Path, address: str) -> None:
    """Give the node's end of its cable an address, from within the node's network.

    For a thread of its own, which stays in that network until it ends (setns(2)).  ``IPRoute(netns=...)``
    would fork a child, which a signal for us could lead through our own taking down.
    """
    from pyroute2 import IPRoute

    libc = ctypes.CDLL(None, use_errno=True)  # Python has os.setns from 3.12 on
    with pin.open() as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the network of {pin}")
    with IPRoute() as route:
        inner = route.link_lookup(ifname=NODE_LINK)[0]
        route.addr("add", index=inner, address=address, prefixlen=24)
        for index in (inner, route.link_lookup(ifname="lo")[0]):
            route.link("set", index=index, state="up")


def remove_links(identity: str, state: State | None) -> None:
    """Remove a testbed's bridge and every cable; what is not there is passed over.

    The bridge is known by its alias, even should the record be lost.  The recorded names count only as
    long as no other testbed's bridge has them: one in another root may have been faster.
    """
    from pyroute2 import IPRoute, NetlinkError

    with IPRoute() as route:
        links = route.get_links()
        bridges = {link["index"] for link in links if link.get("ifalias") == _alias(identity)}
        ours = {link["index"] for link in links if link.get("master") in bridges} | bridges
        if state is not None:
            named = re.compile(rf"{re.escape(state.bridge)}(n\d+)?")
            found = [link for link in links if named.fullmatch(str(link.get("ifname")))]
            if not any(link.get("ifalias") not in (None, _alias(identity)) for link in found):
                ours |= {link["index"] for link in found}
        for index in ours:
            try:
                route.link("del", index=index)
            except NetlinkError as error:
                if error.code != errno.ENODEV:  # gone with its namespace meanwhile
                    raise SlurmError(f"the network link {index} cannot be removed: {error}") from error


def _alias(identity: str) -> str:
    return f"bareboat testbed {identity}"


def counters(state: State, node: str) -> LinkCounters:
    """What a node has sent and received so far.

    Raises:
        SlurmError: if its cable is not there.
    """
    directory = Path("/sys/class/net", state.node_link(node), "statistics")
    try:
        # The host's end receives what the node sends.
        values = [
            int((directory / name).read_text())
            for name in ("rx_bytes", "tx_bytes", "rx_packets", "tx_packets")
        ]
    except OSError as error:
        raise SlurmError(f"the cable of node {node} is not there: {error}") from error
    return LinkCounters(*values)
