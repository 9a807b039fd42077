"""Commands whose helpers all take part, however fast this process is, and what each is asked."""

from types import ModuleType
from typing import Any

import pytest

from engine.commands import helpers


def asked_of_all(patch: pytest.MonkeyPatch, *modules: ModuleType) -> list[Any]:
    """Have nobody begin before all helpers can, where modules share out work; note what they are asked."""
    found: list[Any] = []
    carry_out, ask = helpers.carry_out, helpers.Helper.ask

    async def fair(todo, own, others, do, hands=None):
        for helper in others:
            await helper.ready(todo)
        await carry_out(todo, own, others, do, hands)

    async def noted(self, order):
        found.append(order)
        return await ask(self, order)

    patch.setattr(helpers.Helper, "ask", noted)
    for module in modules:
        patch.setattr(module, "carry_out", fair)
    return found
