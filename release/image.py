"""Makes the image: a Debian system reduced to what the program needs, in one layer.

The same system gives the same bytes. What is left out is what only installs packages, and what
people read; so there is no shell in it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from email.parser import Parser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from release.suite import Suite, architecture
from release.system import make_system
from release.tools import zipped
from release.version import Release

USER = 65532  # a number, so that an engine can see that it is not root
_STATE = "/var/lib/sessiongate"
# What the program needs; what these depend on is kept, too.
_NEEDED = ("sessiongate", "base-files", "ca-certificates", "tzdata")
# What only installs packages, though others depend on it.
_ONLY_INSTALLS = {
    *("adduser", "awk", "debconf", "debianutils", "dpkg", "libpam-runtime", "mawk", "openssl"),
    *("passwd", "perl", "perl-base", "python3-minimal"),
}
# What nobody reads there, or what the build has left behind.
_LEFT_OUT = re.compile(
    r"(boot|dev|home|media|mnt|opt|proc|root|run|srv|sys|tmp)/"
    r"|usr/share/(bash-completion|bug|ca-certificates|debconf|fish|info|lintian|locale|man|menu"
    r"|perl5|pixmaps|python3|zsh)/"
    r"|usr/share/doc/(?!.*/copyright$)"
    r"|usr/share/zoneinfo/(posix|right)/"
    r"|usr/lib/(apt|dpkg|init|lsb|systemd|sysusers.d|tmpfiles.d|udev)/"
    r"|usr/lib/[^/]*/gconv/"
    r"|etc/(?!debian_version|group$|host.conf|ld.so|localtime|mime.types|nsswitch|os-release|passwd$"
    r"|protocols|python3|services|sessiongate|ssl|timezone)"
    r"|etc/ssl/certs/(?!ca-certificates.crt)"
    r"|var/(?!lib/(dpkg/status$|sessiongate))"
)
_FOLDERS = ("dev", "proc", "run", "sys", "tmp", "var/tmp", _STATE.strip("/"))
_MERGED = re.compile(r"^(bin|sbin|lib|lib32|lib64|libx32)(?=/)")
_LIST = re.compile(r"var/lib/dpkg/info/([^:/]+)(?::\w+)?\.list")
_STATUS = "var/lib/dpkg/status"
_USERS = {
    "etc/passwd": "root:x:0:0::/:/sbin/nologin\nnobody:x:65534:65534::/:/sbin/nologin\n"
    f"sessiongate:x:{USER}:{USER}::{_STATE}:/sbin/nologin\n",
    "etc/group": f"root:x:0:\nnogroup:x:65534:\nsessiongate:x:{USER}:\n",
}


def image_builder(suite: Suite) -> Callable[[Release, Path], None]:
    """Return what builds the image from one release of Debian."""

    def build_image(release: Release, out: Path) -> None:
        (package,) = out.glob("sessiongate_*.deb")
        hooks = (
            f'copy-in "{package}" /tmp',
            f'chroot "$1" apt-get install --yes --quiet "/tmp/{package.name}"',
        )
        with TemporaryDirectory() as folder:
            system = Path(folder, "system.tar")
            make_system(suite, system, ("python3", "ca-certificates"), hooks, release.epoch)
            name = f"sessiongate-{release.version}-oci-{architecture()}.tar"
            (out / name).write_bytes(image_of(release, system))

    return build_image


def image_of(release: Release, system: Path) -> bytes:
    """Return an archive of an OCI image layout, with the image that is made from a system's tar."""
    layer = _layer(system, release.epoch)
    packed = zipped(layer, level=6)  # 9 takes 2.7 times as long for 0.5 %
    created = datetime.fromtimestamp(release.epoch, UTC).isoformat().replace("+00:00", "Z")
    labels = {
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.description": release.project["description"],
        "org.opencontainers.image.licenses": release.project["license"],
        "org.opencontainers.image.title": "sessiongate",
        "org.opencontainers.image.url": release.home,
        "org.opencontainers.image.version": release.version,
    }
    configuration = {
        "created": created,
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "User": f"{USER}:{USER}",
            "Env": [
                "PATH=/usr/local/bin:/usr/bin:/bin",
                "LANG=C.UTF-8",
                "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
                f"STATE_DIRECTORY={_STATE}",
            ],
            "Entrypoint": ["sessiongate"],
            "Cmd": ["serve"],
            "ExposedPorts": {"8989/tcp": {}, "50051/tcp": {}},
            "Volumes": {_STATE: {}},
            "WorkingDir": _STATE,
            "StopSignal": "SIGTERM",
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        "history": [{"created": created, "created_by": "make release"}],
    }
    blobs: dict[str, bytes] = {}
    manifest = {
        "schemaVersion": 2,
        "mediaType": _TYPE.format("manifest"),
        "config": _blob(blobs, _TYPE.format("config"), _json(configuration)),
        "layers": [_blob(blobs, "application/vnd.oci.image.layer.v1.tar+gzip", packed)],
        "annotations": labels,
    }
    described = _blob(blobs, _TYPE.format("manifest"), _json(manifest))
    described["annotations"] = {
        "org.opencontainers.image.ref.name": "sessiongate",
        "io.containerd.image.name": "docker.io/library/sessiongate:latest",
    }
    described["platform"] = {"architecture": architecture(), "os": "linux"}
    index = {"schemaVersion": 2, "mediaType": _TYPE.format("index"), "manifests": [described]}
    files = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": _json(index)}
    return _archive(files | blobs, release.epoch)


_TYPE = "application/vnd.oci.image.{}.v1+json"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _blob(blobs: dict[str, bytes], kind: str, content: bytes) -> dict[str, Any]:
    """Add a blob and return its descriptor."""
    digest = _digest(content)
    blobs["blobs/" + digest.replace(":", "/")] = content
    return {"mediaType": kind, "digest": digest, "size": len(content)}


def _archive(files: Mapping[str, bytes], epoch: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), epoch
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _layer(system: Path, epoch: int) -> bytes:
    """Return the layer with what is kept of a system; nothing is younger than the release."""
    packed = io.BytesIO()
    with (
        tarfile.open(system) as source,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        members = {each.name.removeprefix("./").strip("/"): each for each in source.getmembers()}
        texts = {name: _text(source, members[name]) for name in ("etc/passwd", _STATUS)}
        lists = {
            found[1]: _text(source, member).splitlines()
            for name, member in members.items()
            if (found := _LIST.fullmatch(name))
        }
        own = re.search(r"^sessiongate:[^:]*:(\d+):(\d+):", texts["etc/passwd"], re.MULTILINE)
        assert own is not None, "the package has made its user"
        ids = {int(own[1]): USER, int(own[2]): USER}
        needed = _closure(_stanzas(texts[_STATUS]))
        texts = _USERS | {_STATUS: "\n\n".join(needed.values()) + "\n"}
        for name in _kept(members, lists, needed):
            member = members[name]
            content = None
            if member.isreg() or member.islnk():
                extracted = source.extractfile(member)
                assert extracted is not None
                content = texts[name].encode() if name in texts else extracted.read()
                member.type, member.linkname = tarfile.REGTYPE, ""
            member.name, member.size = name, len(content or b"")
            member.uid, member.gid = (
                ids.get(member.uid, member.uid),
                ids.get(member.gid, member.gid),
            )
            member.uname = member.gname = ""
            member.mtime, member.pax_headers = min(int(member.mtime), epoch), {}
            archive.addfile(member, None if content is None else io.BytesIO(content))
    return packed.getvalue()


def _text(source: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content = source.extractfile(member)
    assert content is not None, member.name
    return content.read().decode()


def _stanzas(status: str) -> dict[str, str]:
    """Return what dpkg knows of each installed package."""
    found = (stanza.strip("\n") for stanza in status.split("\n\n") if stanza.strip())
    return {Parser().parsestr(each)["Package"]: each for each in found}


def _closure(stanzas: Mapping[str, str]) -> dict[str, str]:
    """Return those of the packages that the program needs."""
    needed: dict[str, str] = {}
    waiting = [*_NEEDED]
    while waiting:
        name = waiting.pop()
        if name in needed or name in _ONLY_INSTALLS or name not in stanzas:
            continue
        needed[name] = stanzas[name]
        fields = Parser().parsestr(stanzas[name])
        wanted = f"{fields['Depends'] or ''},{fields['Pre-Depends'] or ''}"
        waiting += (re.split(r"[ :(]", each.strip())[0] for each in re.split("[,|]", wanted))
    return dict(sorted(needed.items()))


def _kept(
    members: Mapping[str, tarfile.TarInfo],
    lists: Mapping[str, Sequence[str]],
    needed: Collection[str],
) -> list[str]:
    """Return the paths that are kept: those of needed packages, or of none, and their folders."""
    owned: dict[bool, set[str]] = {True: set(), False: set()}
    for package, paths in lists.items():
        owned[package in needed] |= {_MERGED.sub(r"usr/\1", path.strip("/")) for path in paths}
    dropped = owned[False] - owned[True]
    files = {
        name
        for name, member in members.items()
        if not member.isdir()
        and name not in dropped
        and not _LEFT_OUT.match(name)
        and not member.linkname.startswith("/etc/alternatives/")
    }
    folders = {str(parent) for name in (*files, *_FOLDERS) for parent in Path(name).parents}
    kept = files | {*_FOLDERS} | folders - {"."}
    return sorted(kept & {*members})
