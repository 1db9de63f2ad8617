"""The slots of a sweep, each a device and a number of CPU threads, in which its runs take place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import UsageError
from engine.launch.devices import cores, device_fault, devices

MEMORY_OF_A_RUN = 2 << 30
"""Bytes of memory assumed for one run on the CPU, to choose the number of slots."""
MOST_SLOTS = 256


@dataclass(frozen=True)
class Slot:
    """Room for one run at a time. `threads` is 0 for a queue, whose runs use those of their own presets."""

    device: str
    threads: int
    gpus: float = 0.0
    """GPUs of a Ray cluster, or the part of one, that the run gets; such a slot is on no particular node."""


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

    `own_devices` and `own_threads` are what its presets ask for. `on` are the devices that the user named; by default
    the presets' device, else every GPU, else the CPU. `slots` is the number over all devices; by default one for each
    device, or on a CPU one for each core as far as memory allows. Slots share the cores evenly. `before` are the slots
    that the sweep had, which it keeps unless something else is asked for. Raises UsageError for unavailable devices,
    fewer slots than devices, or presets that ask for several devices.
    """
    if before and slots is None and not on and all(device_fault(slot.device) is None for slot in before):
        return tuple(before)
    chosen = list(dict.fromkeys(on)) or _devices(own_devices)
    for device in chosen:
        if (sentence := device_fault(device)) is not None:
            raise UsageError(
                f"--devices: {sentence}" if on else sentence, kind="unavailable-device", key="train.device"
            )
    check_number(slots)
    if slots is not None and slots < len(chosen):
        sentence = f"--slots {slots} is fewer than the {len(chosen)} devices {', '.join(chosen)}"
        raise UsageError(sentence, kind="fewer-slots-than-devices")
    if slots is None:
        threads = max((number or 1 for number in own_threads), default=1)
        slots = len(chosen) if chosen != ["cpu"] else max(1, min(cores() // threads, memory_slots()))
    slots = max(len(chosen), min(slots, max(1, runs)))
    # The same number for every run: on a CPU, the number of threads changes the last digits of results.
    return tuple(Slot(chosen[number % len(chosen)], max(1, cores() // slots)) for number in range(slots))


def check_number(slots: int | None) -> None:
    """Raise UsageError for a number of slots that cannot be."""
    if slots is not None and not 1 <= slots <= MOST_SLOTS:
        raise UsageError(f"--slots must be from 1 to {MOST_SLOTS}, not {slots}", kind="invalid-slots")


def own_device(own: Sequence[str | None]) -> str | None:
    """The device that all presets of a sweep ask for; None without one. Raises UsageError when they differ."""
    asked = list(dict.fromkeys(device for device in own if device is not None))
    if len(asked) > 1 or (asked and None in own):
        others = " and auto" if None in own else ""
        sentence = (
            f"the presets of this sweep ask for different devices ({', '.join(asked)}{others}): choose with --devices"
        )
        raise UsageError(sentence, kind="presets-ask-for-several-devices", key="train.device")
    return asked[0] if asked else None


def _devices(own: Sequence[str | None]) -> list[str]:
    device = own_device(own)
    if device is not None:
        return [device]
    return [device for device in devices() if device != "cpu"] or ["cpu"]


def memory_slots() -> int:
    """How many CPU runs fit in the available memory."""
    import psutil

    return int(psutil.virtual_memory().available // MEMORY_OF_A_RUN)
