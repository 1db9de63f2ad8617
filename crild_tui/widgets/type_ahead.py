"""What is typed into a line before the line has the focus: over a slow connection keys arrive together."""

from __future__ import annotations

from textual import events
from textual.widgets import Input


def typed_early(line: Input, character: str) -> None:
    """Type a character into a line that does not have the focus yet; the first replaces the text, as if it were selected."""
    line.value = character if line.select_on_focus else line.value + character
    line.select_on_focus = False
    line.cursor_position = len(line.value)


async def type_ahead(line: Input, event: events.Key) -> bool:
    """Give an open line a key that another widget got; whether the line takes it."""
    if event.is_printable and event.character:
        typed_early(line, event.character)
    elif event.key == "enter" and not line.has_focus:
        await line.action_submit()
    elif event.key == "backspace" and not line.has_focus:
        line.value = line.value[:-1]
    else:
        return False
    return True
