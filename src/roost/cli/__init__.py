"""`roost`: one thin command to a module, loaded when it is called, so that `roost --help` costs next to nothing."""

from __future__ import annotations

from importlib import import_module

import click

COMMANDS = {
    "serve": ("roost.cli.serve", "Start the server."),
    "run": ("roost.cli.run", "Give an agent a task and watch it work."),
    "tail": ("roost.cli.tail", "Show a session's events, past and to come."),
    "ps": ("roost.cli.ps", "List sessions."),
    "kill": ("roost.cli.kill", "Interrupt a session."),
    "egress": ("roost.cli.egress", "Show which hosts a session reached or was refused."),
    "keys": ("roost.cli.keys", "Create, list and revoke API keys."),
    "doctor": ("roost.cli.doctor", "Say what this machine and these settings give."),
    "demo": ("roost.cli.demo", "Run a real task on a private server, from agent to checked result."),
}


class Commands(click.Group):
    """Commands by name; their modules are imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="roost")
def main() -> None:
    """Roost: a self-hosted server for long-running AI agents.

    Clients find the server by ROOST_URL and ROOST_API_KEY; `roost doctor` shows what is set.
    """
