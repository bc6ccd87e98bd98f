"""Facts of a host, an image and a step, written down for the tests of what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from launcher.config import SiteConfig
from launcher.host import HostFacts, MountPoint, User
from launcher.image.facts import ImageFacts
from launcher.image.reference import ImageKind
from launcher.layout import Layout, lay_out
from launcher.program import Operation, Verb
from launcher.request import Request, make_request

USER = User(1000, 100, "ann", "Ann,,,", "/home/user", "/bin/zsh", ((100, "users"), (200, "lab")))
HOST = HostFacts(
    user=USER,
    kernel="6.1.0",
    machine="x86_64",
    mounts=(MountPoint("/lustre", "lustre", "mgs:/l"), MountPoint("/usr", "nfs4", "s:/usr")),
    present=frozenset(
        (
            *(
                "/proc",
                "/sys",
                "/dev",
                "/tmp",
                "/var/tmp",
                "/home/user",
                "/home/user/job",
                "/scratch",
                "/data",
            ),
            *("/run/munge", "/usr/share", "/etc/hosts", "/etc/resolv.conf", "/etc/localtime", "/mnt"),
        )
    ),
    timezone="Europe/Berlin",
    max_user_namespaces=1000,
    libexec="/opt/bareboat/libexec/bareboat",
)
IMAGE = ImageFacts(
    name="img",
    path="/images/img",
    kind=ImageKind.DIRECTORY,
    os_name="Test Linux 1",
    machine="x86_64",
    environment=(("PATH", "/opt/app/bin:/usr/bin"), ("OMP", "1"), ("SLURM_JOB_ID", "7")),
    passwd="root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/:/bin/sh\nann:x:7:7::/:/bin/sh\n",
    group="root:x:0:\nusers:x:100:\nlab:x:9:\n",
    localtime="",
    present=frozenset(["/", "/usr", "/usr/share", "/mnt"]),
    held=frozenset(["/", "/usr", "/usr/share"]),
)


@dataclass(frozen=True)
class StepDirs:
    pmi_dirs: tuple[str, ...] = ()
    spool_dir: str | None = None


def request(variables: Mapping[str, str] | None = None, **changes: Any) -> Request:
    made = make_request(
        "img", ["app"], environment=variables or {}, cwd="/home/user/job", config=SiteConfig()
    )
    return replace(made, **changes)


def laid(
    asked: Request | None = None,
    *,
    config: SiteConfig | None = None,
    host: HostFacts = HOST,
    image: ImageFacts = IMAGE,
    step: StepDirs | None = None,
) -> Layout:
    """Lay out a request; what the step needs is on the host."""
    return lay_out(asked or request(), config or SiteConfig(), host, image, step)


def binds(layout: Layout) -> dict[str, tuple[str, str]]:
    """Target -> (source, flags) of the binds, for this step."""
    return {op.args[1]: (op.args[0], op.args[2]) for op in layout.resolved.operations if op.verb is Verb.BIND}


def find(layout: Layout, target: str) -> Operation:
    return next(op for op in layout.operations if target in op.args)
