"""Writes journal files that `journalctl` reads: the kernel's log of a simulated node.

A container shares its host's kernel and gets nothing of its log, so the lines that a driver would
write there come out of a file of their own beside the node's journal. The format is the one that
systemd documents (https://systemd.io/JOURNAL_FILE_FORMAT), without keyed hashes and compression.
"""

from __future__ import annotations

import platform
import struct
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_HEADER = 256
_HASH_ITEMS = 1024
_DATA, _FIELD, _ENTRY, _DATA_TABLE, _FIELD_TABLE, _ENTRY_ARRAY = 1, 2, 3, 4, 5, 6
_OFFLINE = 0
BOOT = Path("/proc/sys/kernel/random/boot_id")
DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Line:
    """One message. Times are in microseconds: since the epoch, and since the node started."""

    realtime_us: int
    monotonic_us: int
    boot: uuid.UUID
    fields: dict[str, str]


def render(machine: uuid.UUID, lines: Sequence[Line], name: str = "holdfast-simulated") -> bytes:
    """A whole journal file with these lines, oldest first.

    Files of one name count their lines together: journalctl puts those in order by number, and only
    those of different names by time.
    """
    return _Writer(machine, name).render(lines)


@dataclass
class _Writer:
    machine: uuid.UUID
    name: str
    out: bytearray = field(default_factory=lambda: bytearray(_HEADER))
    data: dict[bytes, int] = field(default_factory=dict)
    names: dict[bytes, int] = field(default_factory=dict)
    users: dict[int, list[int]] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)

    def render(self, lines: Sequence[Line]) -> bytes:
        data_table = self._object(_DATA_TABLE, bytes(16 * _HASH_ITEMS)) + 16
        field_table = self._object(_FIELD_TABLE, bytes(16 * _HASH_ITEMS)) + 16
        self.tables = {_DATA: data_table, _FIELD: field_table}
        entries = [self._entry(number, line) for number, line in enumerate(lines, start=1)]
        for item, offsets in self.users.items():
            self._join(item, offsets)
        array = self._array(entries) if entries else 0
        self._head(lines, entries, array)
        return bytes(self.out)

    def _object(self, kind: int, payload: bytes) -> int:
        self.out += bytes(-len(self.out) % 8)
        offset = len(self.out)
        self.out += struct.pack("<BB6xQ", kind, 0, 16 + len(payload)) + payload
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.tail = offset
        return offset

    def _entry(self, number: int, line: Line) -> int:
        items = sorted(
            self._datum(f"{name}={value}".encode()) for name, value in line.fields.items()
        )
        total = 0
        for offset in items:
            total ^= struct.unpack_from("<Q", self.out, offset + 16)[0]
        head = struct.pack("<QQQ16sQ", number, line.realtime_us, line.monotonic_us,
                           line.boot.bytes, total)  # fmt: skip
        body = b"".join(
            struct.pack("<QQ", offset, struct.unpack_from("<Q", self.out, offset + 16)[0])
            for offset in items
        )
        entry = self._object(_ENTRY, head + body)
        for offset in items:
            self.users.setdefault(offset, []).append(entry)
        return entry

    def _datum(self, payload: bytes) -> int:
        if payload in self.data:
            return self.data[payload]
        name = payload.partition(b"=")[0]
        if name not in self.names:
            self.names[name] = self._hashed(_FIELD, name, struct.pack("<QQ", 0, 0))
        after = self.names[name] + 16 + 16
        (first,) = struct.unpack_from("<Q", self.out, after)
        rest = struct.pack("<QQQQQ", 0, first, 0, 0, 0)
        offset = self._hashed(_DATA, payload, rest)
        struct.pack_into("<Q", self.out, after, offset)
        self.data[payload] = offset
        return offset

    def _hashed(self, kind: int, payload: bytes, rest: bytes) -> int:
        """An object that its table finds by its hash. Both kinds begin with hash and next."""
        value = _hash64(payload)
        offset = self._object(kind, struct.pack("<Q", value) + rest + payload)
        place = self.tables[kind] + 16 * (value % _HASH_ITEMS)
        head, tail = struct.unpack_from("<QQ", self.out, place)
        if tail:
            struct.pack_into("<Q", self.out, tail + 24, offset)
        struct.pack_into("<QQ", self.out, place, head or offset, offset)
        return offset

    def _join(self, item: int, offsets: list[int]) -> None:
        """Tell a datum which entries have it."""
        array = self._array(offsets[1:]) if len(offsets) > 1 else 0
        struct.pack_into("<QQQ", self.out, item + 40, offsets[0], array, len(offsets))

    def _array(self, offsets: list[int]) -> int:
        return self._object(_ENTRY_ARRAY, struct.pack(f"<Q{len(offsets)}Q", 0, *offsets))

    def _head(self, lines: Sequence[Line], entries: list[int], array: int) -> None:
        own = uuid.uuid5(self.machine, self.name).bytes
        last = lines[-1] if lines else Line(0, 0, uuid.UUID(int=0), {})
        first_us = lines[0].realtime_us if lines else 0
        tables = self.tables
        size = 16 * _HASH_ITEMS
        struct.pack_into(
            "<8sIIB7x16s16s16s16sQQQQQQQQQQQQQQQQQQQQ", self.out, 0,
            b"LPKSHHRH", 0, 0, _OFFLINE,
            own, self.machine.bytes, last.boot.bytes, own,
            _HEADER, len(self.out) - _HEADER,
            tables[_DATA], size, tables[_FIELD], size,
            self.tail, sum(self.counts.values()), len(entries),
            len(entries), 1 if entries else 0, array,
            first_us, last.realtime_us, last.monotonic_us,
            self.counts.get(_DATA, 0), self.counts.get(_FIELD, 0),
            0, self.counts.get(_ENTRY_ARRAY, 0), 0,
        )  # fmt: skip


_MASK = 0xFFFFFFFF


def _rotated(value: int, by: int) -> int:
    return ((value << by) | (value >> (32 - by))) & _MASK


def _hash64(data: bytes) -> int:
    """Bob Jenkins' lookup3 over `data`, which is in the public domain, as one 64-bit number."""
    length = len(data)
    a = b = c = (0xDEADBEEF + length) & _MASK
    if not length:
        return c << 32 | b
    rounds = (length - 1) // 12
    for number in range(rounds):
        words = struct.unpack_from("<III", data, 12 * number)
        a, b, c = _mixed((a + words[0]) & _MASK, (b + words[1]) & _MASK, (c + words[2]) & _MASK)
    words = struct.unpack("<III", data[12 * rounds :].ljust(12, b"\0"))
    a, b, c = (a + words[0]) & _MASK, (b + words[1]) & _MASK, (c + words[2]) & _MASK
    b, c = _final(a, b, c)
    return c << 32 | b


def _mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    for by in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _MASK) ^ _rotated(c, by)
        c = (c + b) & _MASK
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> tuple[int, int]:
    for by in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotated(b, by)) & _MASK
        a, b, c = b, c, a
    # Seven steps turn the three names by one.
    return a, b


def said_at_start() -> list[str]:
    """What a kernel says when it starts, with its driver's banner where it has one."""
    lines = [f"Linux version {platform.release()} (Holdfast rehearsal)"]
    if DRIVER.exists():
        version = DRIVER.read_text().splitlines()[0].partition("NVRM version: ")[2]
        lines.append("nvidia: loading out-of-tree module taints kernel.")
        lines.append(f"NVRM: loading {version}")
    return lines


def kernel_fields(text: str, priority: int, boot: uuid.UUID) -> dict[str, str]:
    """The fields of a line of the kernel."""
    return {
        "MESSAGE": text,
        "PRIORITY": str(priority),
        "SYSLOG_FACILITY": "0",
        "SYSLOG_IDENTIFIER": "kernel",
        "_TRANSPORT": "kernel",
        "_BOOT_ID": boot.hex,
    }


def note_start(target: Path) -> None:
    """Write the journal of what the kernel said at this start of the node."""
    boot = uuid.UUID(BOOT.read_text().strip())
    machine = uuid.UUID(Path("/etc/machine-id").read_text().strip())
    now = int(time.time() * 1e6)
    since = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1e6)
    lines = [
        Line(now + number, since + number, boot, kernel_fields(text, 5, boot))
        for number, text in enumerate(said_at_start())
    ]
    target.write_bytes(render(machine, lines, "holdfast-simulated-start"))


if __name__ == "__main__":
    note_start(Path(sys.argv[1]))
