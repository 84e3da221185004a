"""A node in a folder, with programs that do to it what the real ones do to a system."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.unit.roles_support import plugin

rescue = plugin("module_utils.hardening", "rescue")
nodes = plugin("module_utils.hardening", "node")
apply = plugin("module_utils.hardening", "apply")
journal = plugin("module_utils.hardening", "journal")

Command = tuple[int, str]


class System:
    """Files in a folder, units, kernels, mounts; a stand-in for the programs that change them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[list[str]] = []
        self.allowed: dict[str, int] = {}
        self.packages: set[str] = set()
        self.units: dict[str, dict[str, str]] = {}
        self.kernels = ["ro quiet"]
        self.privileged: list[str] = []
        self.audit = "enabled 1\n"
        self.failing: set[str] = set()
        self.edited_by_hand = False
        for folder in ("holdfast", "aide"):
            self.path(f"/var/lib/{folder}").mkdir(parents=True)
        me, group = os.getuid(), os.getgid()
        self.write("/etc/passwd", f"root:x:{me}:{group}:root:/root:/bin/bash\n")
        self.write("/etc/group", f"root:x:{group}:\n")

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        found = self.path(path)
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_text(text, encoding="utf-8")
        found.chmod(mode)
        return found

    def read(self, path: str) -> str:
        return self.path(path).read_text(encoding="utf-8")

    def program(self, *names: str) -> None:
        for name in names:
            self.write(f"/usr/sbin/{name}", "", 0o755)

    def user(self, line: str, shadow: str = "") -> None:
        with self.path("/etc/passwd").open("a") as stream:
            stream.write(line + "\n")
        if shadow:
            before = self.read("/etc/shadow") if self.path("/etc/shadow").exists() else ""
            self.write("/etc/shadow", before + shadow + "\n", 0o600)

    def unit(self, name: str, *, file: str = "disabled", active: str = "inactive", **more) -> None:
        self.write(f"/usr/lib/systemd/system/{name}", "[Unit]\n")
        self.units[name] = {"UnitFileState": file, "ActiveState": active, **more}

    # What the pass calls

    def command(
        self, argv: list[str], data: str | None = None, seconds: int = rescue.SECONDS
    ) -> Command:
        self.calls.append(argv)
        self.allowed[argv[0]] = seconds
        program = argv[0].rpartition("/")[2]
        if program in self.failing:
            return 1, f"{program} fails"
        run: Callable[[list[str], str | None], Command | None] | None = getattr(
            self, "_" + program.replace("-", "_"), None
        )
        if run is None:
            return 127, f"{program}: not found"
        return run(argv[1:], data) or (0, "")

    def raising(self, argv: list[str]) -> str:
        """The same for an undo, which wants an exception."""
        code, out = self.command(argv)
        if code:
            raise rescue.Command(f"{argv[0]}: {out}")
        return out

    def _rpm(self, argv, data):
        return 0, "".join(f"{name}\n" for name in argv if name in self.packages)

    def _systemctl(self, argv, data):
        verb, *names = [word for word in argv if not word.startswith("--")]
        if verb == "show":
            return 0, "\n\n".join(self._show(name) for name in names) + "\n"
        if verb == "set-default":
            link = self.path("/etc/systemd/system/default.target")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(f"/usr/lib/systemd/system/{names[0]}")
        states = {
            "mask": ("UnitFileState", "masked"),
            "unmask": ("UnitFileState", "disabled"),
            "enable": ("UnitFileState", "enabled"),
            "disable": ("UnitFileState", "disabled"),
            "start": ("ActiveState", "active"),
            "stop": ("ActiveState", "inactive"),
        }
        for name in names if verb in states else ():
            unit, (key, value) = self.units[name], states[verb]
            if verb != "unmask" or unit["UnitFileState"] == "masked":
                unit[key] = value
        return None

    def _show(self, name: str) -> str:
        unit = self.units.get(name)
        if unit is None:
            return f"Id={name}\nLoadState=not-found\nUnitFileState=\nActiveState=inactive"
        load = "masked" if unit["UnitFileState"] == "masked" else "loaded"
        shown = {"Id": name, "LoadState": load, **unit}
        return "\n".join(f"{key}={value}" for key, value in shown.items())

    def _grubby(self, argv, data):
        for word in argv:
            option, _, value = word.partition("=")
            if option == "--info":
                return 0, "".join(f'index={n}\nargs="{k}"\n' for n, k in enumerate(self.kernels))
            if option in ("--args", "--remove-args"):
                name = value.partition("=")[0]
                kept = [[w for w in k.split() if w.partition("=")[0] != name] for k in self.kernels]
                more = [value] if option == "--args" else []
                self.kernels = [" ".join(k + more) for k in kept]
        return None

    def _modprobe(self, argv, data):
        name = argv[-1].replace("-", "_")
        text = "".join(
            line + "\n" for line in self.read("/proc/modules").splitlines() if name not in line
        )
        self.write("/proc/modules", text if "-r" in argv else text + f"{name} 4096 0 - Live 0x0\n")

    def _mount(self, argv, data):
        options, path = argv[1].split(",")[1:], argv[2]
        lines = []
        for line in self.read("/proc/self/mounts").splitlines():
            row = line.split()
            if row[1] == path:
                has = [o for o in row[3].split(",") if o not in options]
                gone = {o[2:] if o.startswith("no") else "no" + o for o in options}
                added = [o for o in options if o.startswith("no")]
                row[3] = ",".join([o for o in has if o not in gone] + added)
            lines.append(" ".join(row))
        self.write("/proc/self/mounts", "".join(line + "\n" for line in lines))

    def _authselect(self, argv, data):
        if argv[0] == "test":
            said = "File /etc/pam.d/system-auth:\nauth required pam_other.so\n"
            return 0, said if self.edited_by_hand else "File /etc/nsswitch.conf:\n"
        self.edited_by_hand = False
        _, profile, *features = [word for word in argv if not word.startswith("--")]
        lines = [profile, *features]
        self.write("/etc/authselect/authselect.conf", "".join(line + "\n" for line in lines))
        return None

    def _update_crypto_policies(self, argv, data):
        for path in ("/etc/crypto-policies/config", "/etc/crypto-policies/state/current"):
            self.write(path, argv[-1] + "\n")

    def _setenforce(self, argv, data):
        self.write("/sys/fs/selinux/enforce", argv[0])

    def _groupadd(self, argv, data):
        self.write("/etc/group", self.read("/etc/group") + f"{argv[-1]}:x:990:\n")

    def _groupdel(self, argv, data):
        self._rows("/etc/group", argv[-1], None)

    def _gpasswd(self, argv, data):
        self._rows("/etc/group", argv[2], {3: argv[1]})

    def _chage(self, argv, data):
        field = {"-d": 2, "-m": 3, "-M": 4, "-W": 5, "-I": 6}[argv[0]]
        self._rows("/etc/shadow", argv[2], {field: "" if argv[1] == "-1" else argv[1]})

    def _usermod(self, argv, data):
        name = argv[-1]
        if argv[0] == "-s":
            self._rows("/etc/passwd", name, {6: argv[1]})
        elif argv[0] == "-g":
            self._rows("/etc/passwd", name, {3: argv[1]})
        elif argv[0] == "-p":
            # As the real one it sets the day of the password's last change with it.
            self._rows("/etc/shadow", name, {1: argv[1], 2: "20780"})
        else:
            row = self._row("/etc/shadow", name)
            self._rows("/etc/shadow", name, {1: "!" + row[1] if argv[0] == "-L" else row[1][1:]})

    def _passwd(self, argv, data):
        self._rows("/etc/shadow", argv[-1], {1: ""})

    def _row(self, path: str, name: str) -> list[str]:
        rows = [line.split(":") for line in self.read(path).splitlines()]
        return next(row for row in rows if row[0] == name)

    def _rows(self, path: str, name: str, fields: dict[int, str] | None) -> None:
        kept = []
        mode = stat.S_IMODE(self.path(path).stat().st_mode)
        for line in self.read(path).splitlines():
            row = line.split(":")
            if row[0] == name:
                if fields is None:
                    continue
                for number, value in fields.items():
                    row[number] = value
            kept.append(":".join(row) + "\n")
        self.write(path, "".join(kept), mode)

    def _find(self, argv, data):
        found = []
        for path in sorted(self.root.rglob("*")):
            info = path.lstat()
            shared = info.st_mode & 0o002 and not (path.is_dir() and info.st_mode & 0o1000)
            if path.is_symlink() or not (shared or info.st_mode & 0o6000):
                continue
            kind = "d" if path.is_dir() else "f"
            found.append(f"{kind} {stat.S_IMODE(info.st_mode):o} {path}\0")
        return 0, "".join(found)

    def _auditctl(self, argv, data):
        return 0, self.audit

    def _augenrules(self, argv, data):
        path = self.path("/etc/audit/audit.rules")
        if path.exists():
            rules = [p.read_text() for p in sorted(self.path("/etc/audit/rules.d").iterdir())]
            path.rename(self.path("/etc/audit/audit.rules.prev"))
            self.write("/etc/audit/audit.rules", "# generated\n" + "".join(rules), 0o600)

    def _aide(self, argv, data):
        self.write("/var/lib/aide/aide.db.new.gz", "db", 0o600)

    def _mv(self, argv, data):
        source, target = argv[-2:]
        self.path(source).rename(self.path(target))

    def _rm(self, argv, data):
        for path in argv[argv.index("--") + 1 :]:
            self.path(path).unlink(missing_ok=True)

    def _sshd(self, argv, data):
        return None

    def _visudo(self, argv, data):
        return (1, "syntax error") if data and "broken" in data else None

    def _journalctl(self, argv, data):
        return None

    def _dconf(self, argv, data):
        return None


class Run:
    """One pass over a system."""

    def __init__(self, system: System, controls: list[dict[str, Any]], **given: Any) -> None:
        self.system = system
        phase = given.pop("phase", "hardening")
        tree = rescue.Tree(str(system.root))
        self.node = nodes.Node(tree, command=system.command, **given)
        self.passed = apply.Pass(self.node, phase)
        self.passed.look(controls)
        self.home = str(system.path("/var/lib/holdfast/hardening"))

    @property
    def said(self) -> list[str]:
        return self.passed.announce()

    @property
    def wrong(self) -> list[str]:
        return self.passed.wrong

    def commit(self, run: str = "r1") -> list[str]:
        assert self.wrong == []
        older = self.passed.owed(self.home)
        found = self.passed.commit(self.home, run, lambda path: None)
        if not found:
            self.passed.end(older)
        return found

    def undo(self, **given: Any) -> Any:
        report = rescue.Undone(**given)
        rescue.undo(self.passed.entry.folder, self.node.tree, report, command=self.system.raising)
        return report


def control(*resources: dict[str, Any], name: str = "c", **more: Any) -> dict[str, Any]:
    """A rendered control."""
    return {"id": name, "phase": "hardening", "resources": list(resources), **more}


def setting(path: str, key: str, value: str) -> dict[str, Any]:
    """A key in a file of somebody else."""
    return {"type": "setting", "path": path, "key": key, "value": value}


def content(path: str, text: str = "x\n", **more: Any) -> dict[str, Any]:
    """A file that is ours."""
    return {"type": "content", "path": path, "text": text, "mode": "0644", **more}


def snapshot(root: Path, leave: tuple[str, ...] = ("var/lib/holdfast",)) -> dict[str, Any]:
    """Everything below a folder: kind, bytes, mode and owner."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.startswith(leave):
            continue
        info = path.lstat()
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[name] = ("folder", stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)
        else:
            rights = (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)
            found[name] = ("file", path.read_bytes(), *rights)
    return found
