"""pytest plugin: hypothesis reports the first example that fails, because mutants need no small one."""

from __future__ import annotations

from hypothesis import Phase, settings

settings.register_profile(
    "mutation", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate), report_multiple_bugs=False
)
