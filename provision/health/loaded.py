"""What checks under load share: which GPUs are tested, and what DCGM said of each."""

from __future__ import annotations

from typing import Any

from provision.health.case import Case, Gpu, why
from provision.health.words import NotMeant, Outcome, Unseen

PASSED, FAILED = "Pass", ("Fail", "Warn")


def tested(case: Case, part: str) -> Any:
    """What a program said that put the GPUs under load.

    Raises:
        NotMeant: no GPU is declared, or the GPUs are divided, which these programs do not test.
        Unseen: it is not installed, did not end, or said nothing that counts.
    """
    case.gpus()
    if case.expected.gpus.get("mig") or case.expected.gpus.get("mig_enabled"):
        raise NotMeant("the declaration divides the GPUs by MIG; whole ones can be tested")
    try:
        return case.part(part)
    except Unseen as error:
        raise Unseen(f"not tested under load: {why(error)}", "not_looked") from error


def by_dcgm(case: Case, test: str, expected: str) -> Outcome:
    """Judge what one test of DCGM said of each GPU."""
    told = tested(case, "dcgmi.diag")
    places = {str(g["bus"]): str(g["index"]) for g in case.part("nvml.gpus")}
    numbers = {serial: number for number, serial in told["serials"].items()}

    def one(gpu: Gpu) -> tuple[bool, str]:
        # DCGM numbers GPUs as the driver does; where it says serial numbers, those decide.
        number = numbers.get(str(gpu.read("serial"))) if numbers else places[gpu.bus]
        status, said = told["tests"][test].get(number, ("", "it says nothing of this GPU"))
        text = f"DCGM: {status or 'no result'}" + (f", {said}" if said else "")
        if status != PASSED and status not in FAILED:
            raise Unseen(f"not tested under load: {text}", "not_looked")
        return status == PASSED, text

    return case.each_gpu(one, expected)
