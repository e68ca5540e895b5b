"""The settings of this shell, for commands."""

from __future__ import annotations

import os

import click

from roost.core.settings import Settings, SettingsError, read_settings


def settings(**overrides: object) -> Settings:
    """What the environment sets, with the options that were given; warnings go to standard error."""
    try:
        return read_settings(os.environ, lambda text: click.echo(f"warning: {text}", err=True), **overrides)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
