"""`crild serve`: the dashboard in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.options import RunsDir

if TYPE_CHECKING:
    from pathlib import Path

PORT = 8321


def serve(
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on; by default this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = PORT,
    runs_dir: RunsDir = None,
    readonly: Annotated[bool, typer.Option("--readonly", help="A dashboard that changes nothing.")] = False,
) -> None:
    """Show the dashboard in a browser.

    Prints its address, with a token that gives access; Ctrl-C ends it, and
    runs keep going. For another machine's browser, use an ssh tunnel:
    nothing is encrypted otherwise. Needs crild[web].

    \b
    crild serve
    crild serve --port 0 --readonly
    """
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import check_runs_dir
    from engine.user.settings import Dashboard, read_settings

    folder = folder_of(runs_dir)
    check_runs_dir(folder)
    read_settings(Dashboard)  # its mistakes are better shown here than in a browser
    _serve(host, port, folder, readonly=readonly)


def _serve(host: str, port: int, runs_dir: Path, *, readonly: bool) -> None:
    """Listen, print the address, and serve until a signal ends it."""
    import asyncio

    from engine.errors import UsageError
    from engine.launch.start import process_command

    try:
        from crild_tui.serve.server import DashboardServer
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] in ("crild_tui", "engine"):
            raise
        raise UsageError('crild serve needs textual-serve: pip install "crild[web]"', kind="missing-web") from error
    from crild_tui.serve.gate import TOKEN, Gate, is_loopback, names_of
    from crild_tui.serve.listen import listen, url_host

    with listen(host, port) as listening:
        address, used = listening.getsockname()[:2]
        gate, name = Gate(names_of(host, address), used), url_host(host, address)

        def show() -> None:
            print(f"http://{name}:{used}/?{TOKEN}={gate.token}", flush=True)
            terminal.say(
                "open this address in a browser; whoever has it has the dashboard. Ctrl-C ends it, runs keep going"
            )

        if not is_loopback(address):
            terminal.say(
                "warning: nothing here is encrypted: whoever listens on the network sees the token and can use it. Better leave "
                f"--host out, and run `ssh -L {used}:127.0.0.1:{used} {name}` on the machine with the browser"
            )
        words = process_command("dashboard", *(["--readonly"] if readonly else []), str(runs_dir))
        asyncio.run(DashboardServer(words, gate).run_on(listening, show))
