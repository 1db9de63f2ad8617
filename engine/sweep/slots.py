"""Where the runs of a sweep work: slots, each a device and a number of CPU threads. Pure but for what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import UsageError
from engine.launch.devices import cores, device_fault, devices

MEMORY_OF_A_RUN = 2 << 30
"""Bytes of memory that a CPU slot is reckoned with, where nobody says how many there are."""
MOST_SLOTS = 256


@dataclass(frozen=True)
class Slot:
    """Place for one run at a time."""

    device: str
    threads: int


def slots_for(
    runs: int,
    own_devices: Sequence[str | None],
    own_threads: Sequence[int | None],
    *,
    slots: int | None = None,
    on: Sequence[str] = (),
    before: Sequence[Slot] = (),
) -> tuple[Slot, ...]:
    """The slots of a sweep of so many runs on this machine.

    `own_devices` and `own_threads` are what its presets ask for themselves. `on` are the devices that the person
    named; otherwise the presets' one device, else every GPU, else the CPU. `slots` is their number over all devices:
    one for each device when left out, on a CPU one for each core as far as memory reaches. Cores are shared evenly.
    `before` are the slots that the sweep had, which it keeps where nothing else is asked for.
    Raises UsageError for devices that are not there, fewer slots than devices, or presets that ask for several.
    """
    if before and slots is None and not on and all(device_fault(slot.device) is None for slot in before):
        return tuple(before)
    wanted = list(dict.fromkeys(on)) or _devices(own_devices)
    for device in wanted:
        if (sentence := device_fault(device)) is not None:
            raise UsageError(f"--devices: {sentence}" if on else sentence, key="train.device")
    if slots is not None and not 1 <= slots <= MOST_SLOTS:
        raise UsageError(f"--slots must be from 1 to {MOST_SLOTS}, not {slots}")
    if slots is not None and slots < len(wanted):
        raise UsageError(f"--slots {slots} leaves a device idle: {', '.join(wanted)} are {len(wanted)}")
    if slots is None:
        threads = max((number or 1 for number in own_threads), default=1)
        slots = len(wanted) if wanted != ["cpu"] else max(1, min(cores() // threads, memory_slots()))
    slots = max(len(wanted), min(slots, max(1, runs)))
    # Equally many for every run: on a CPU, another number of threads would give other digits.
    return tuple(Slot(wanted[number % len(wanted)], max(1, cores() // slots)) for number in range(slots))


def _devices(own: Sequence[str | None]) -> list[str]:
    asked = list(dict.fromkeys(device for device in own if device is not None))
    if len(asked) > 1 or (asked and None in own):
        others = " and auto" if None in own else ""
        raise UsageError(
            f"the presets of this sweep ask for different devices ({', '.join(asked)}{others}): name those to use by "
            "--devices",
            key="train.device",
        )
    if asked:
        return asked
    there = [device for device in devices() if device != "cpu"]
    return there or ["cpu"]


def memory_slots() -> int:
    """CPU runs that the free memory has room for."""
    import psutil

    return int(psutil.virtual_memory().available // MEMORY_OF_A_RUN)
