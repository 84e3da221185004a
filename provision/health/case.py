"""What a check is given to judge: what was seen, what is declared, the limits, earlier samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from provision.health.data_files import Model, model_of
from provision.health.expect import Expected
from provision.health.limits import Limits
from provision.health.probes.ask import KINDS
from provision.health.sight import Sight
from provision.health.state import Rate, State
from provision.health.words import (
    FAIL,
    NOT_APPLICABLE,
    PASS,
    UNKNOWN,
    NotMeant,
    Outcome,
    Part,
    Unseen,
    counted,
    fails,
    together,
)


@dataclass
class Gpu:
    """A GPU that NVML shows."""

    bus: str
    sight: Sight
    model: Model | None

    @property
    def model_id(self) -> str:
        """Its model, as limits name it; empty when the model is not known."""
        return self.model.id if self.model else ""

    def read(self, name: str) -> Any:
        """A reading.

        Raises:
            Unseen: NVML did not give it.
        """
        part = f"gpu.{self.bus}.{name}"
        culprit = self.sight.missing.get(f"culprit.gpu:{self.bus}")
        if culprit and part not in self.sight.values and part not in self.sight.missing:
            raise Unseen(culprit[1], culprit[0])
        return self.sight.part(part)

    def trait(self, name: str, trait: str, what: str) -> Any:
        """A reading that only some models have.

        Raises:
            NotMeant: NVML does not support it, and the model does not have it.
            Unseen: NVML did not give it, though the model has it or is not known.
        """
        try:
            return self.read(name)
        except Unseen as error:
            if error.kind == "not_supported" and self.model and not self.model.can(trait):
                raise NotMeant(f"the model {self.model.id} has no {what}") from error
            raise


@dataclass
class Case:
    """One check's case."""

    sight: Sight
    expected: Expected
    limits: Limits
    state: State

    def part(self, name: str) -> Any:
        """A part of what was seen.

        Raises:
            Unseen: it was not; the message says why.
        """
        return self.sight.part(name)

    @property
    def declared_count(self) -> int:
        """How many GPUs are declared.

        Raises:
            Unseen: nothing is declared.
        """
        if "count" not in self.expected.gpus:
            raise Unseen("nothing is declared of the GPUs (--expect)", "missing")
        return int(self.expected.gpus["count"])

    def need_gpus(self) -> None:
        """Go on only where GPUs are declared.

        Raises:
            NotMeant: no GPU is declared.
        """
        if self.declared_count == 0:
            raise NotMeant("no GPU is declared for this node")

    def gpus(self) -> list[Gpu]:
        """The GPUs that NVML shows, by bus.

        Raises:
            NotMeant: no GPU is declared.
            Unseen: NVML shows none.
        """
        if self.expected.gpus.get("count") == 0:
            raise NotMeant("no GPU is declared for this node")
        self.part("nvml.init")
        self.part("nvml.count")
        buses = [g["bus"] for g in self.part("nvml.gpus") if not g["code"]]
        if not buses:
            raise Unseen("the driver shows no GPU", "missing")
        return [Gpu(bus, self.sight, self._model(bus)) for bus in sorted(buses)]

    def unasked(self) -> list[Part]:
        """What cannot be said of GPUs that are there, or should be, and that NVML does not give."""
        told = self.part("nvml.gpus")
        parts = [Part(f"GPU {g['index']}", UNKNOWN, g["reason"]) for g in told if g["code"]]
        shown = {g["bus"] for g in told if not g["code"]}
        bus: set[str] = set()
        if "pci.gpus" in self.sight.values:
            bus = {str(g["bus"]) for g in self.sight.values["pci.gpus"]} - shown
        away = int(self.expected.gpus.get("count", 0)) - len(shown) - len(parts)
        hidden = sorted(bus) if len(bus) <= away else []
        parts += [Part(name, UNKNOWN, "the driver does not show it") for name in hidden]
        rest = away - len(hidden)
        if rest > 0:
            parts.append(Part(f"{counted(rest, 'GPU')} of those declared", UNKNOWN,
                              "the driver does not show them"))  # fmt: skip
        return parts

    def _model(self, bus: str) -> Model | None:
        declared = self.expected.gpus.get("model")
        if declared:
            return model_of(str(declared))
        name = self.sight.values.get(f"gpu.{bus}.name")
        return model_of(str(name)) if name else None

    def each_gpu(
        self, judge: Callable[[Gpu], tuple[bool, str]], expected: str, thing: str = "GPU"
    ) -> Outcome:
        """Judge every GPU by itself; the worst of them decides.

        Args:
            judge: whether it is well, and what was seen.
            expected: what was expected of each.
            thing: what the parts are called in the summary.
        """
        parts = [self._one(gpu, judge) for gpu in self.gpus()]
        if any(p.status != NOT_APPLICABLE for p in parts):
            parts += self.unasked()
        judged = [p for p in parts if p.status == PASS]
        examples = sorted({p.seen for p in judged})
        summary = f"{counted(len(judged), thing)}: " + "; ".join(examples[:3])
        if len(examples) > 3:
            summary += f" and {len(examples) - 3} more readings"
        return together(parts, expected, summary)

    def _one(self, gpu: Gpu, judge: Callable[[Gpu], tuple[bool, str]]) -> Part:
        try:
            well, seen = judge(gpu)
        except NotMeant as error:
            return Part(gpu.bus, NOT_APPLICABLE, str(error))
        except Unseen as error:
            return Part(gpu.bus, UNKNOWN, why(error))
        return Part(gpu.bus, PASS if well else FAIL, seen)

    def limit(self, name: str, gpu: Gpu | None = None) -> float:
        """A limit, as it holds for a GPU's model."""
        return self.limits.value(name, gpu.model_id if gpu else "")

    def rate(self, name: str, value: float) -> Rate:
        """How a counter grew since the last audit."""
        return self.state.rate(name, value)

    def per_minute(self, name: str, value: float, limit: float, what: str) -> tuple[bool, str]:
        """Judge a counter by how much it grows a minute.

        Raises:
            Unseen: there is no earlier sample, and the counter is not zero.
        """
        rate = self.rate(name, value)
        if rate.whole:
            if value == 0:
                return True, f"no {what}"
            raise Unseen(
                f"{value:g} {what} so far; the next audit will tell how fast they come",
                "not_looked",
            )
        each = rate.per_minute()
        text = f"{rate.growth:g} {what} in {rate.seconds:.0f} s ({each:.3g} a minute)"
        return each <= limit, text


def links_of(gpu: Gpu, declared: int | None) -> int:
    """How many NVLink links a GPU should have up.

    Raises:
        NotMeant: none is declared, or the model has none, or only bridges that may be absent.
        Unseen: neither declaration nor model says.
    """
    if declared == 0:
        raise NotMeant("the declaration says that the GPUs have no NVLink")
    if declared is not None:
        return declared
    if gpu.model is None:
        raise Unseen("neither the declaration nor the model says how many links there are"
                     " (gpus.nvlinks)", "missing")  # fmt: skip
    if not gpu.model.switched:
        raise NotMeant(f"the model {gpu.model.id} has no links of its own (gpus.nvlinks)")
    return gpu.model.nvlinks


def why(error: Unseen) -> str:
    """Why something was not seen, in words."""
    words = KINDS.get(error.kind, "")
    return f"{words}: {error}" if words else str(error)


def same(values: dict[str, str], wanted: Iterable[str] | None, what: str) -> Outcome:
    """Judge that all GPUs have one value, or one of those that are declared."""
    allowed = sorted(set(wanted or ()))
    found = sorted(set(values.values()))
    expected = f"{what}: one of {', '.join(allowed)}" if allowed else f"the same {what} everywhere"
    if allowed:
        odd = {k: v for k, v in values.items() if v not in allowed}
    else:
        usual = max(found, key=lambda v: (list(values.values()).count(v), v))
        odd = {k: v for k, v in values.items() if v != usual}
    if odd:
        return fails("; ".join(f"{k}: {v}" for k, v in sorted(odd.items())[:8]), expected)
    parts = tuple(Part(k, PASS, v) for k, v in sorted(values.items()))
    return Outcome(PASS, f"{what} {', '.join(found)}", expected, parts)
