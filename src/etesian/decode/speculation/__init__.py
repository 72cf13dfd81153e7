"""How much to draft: costs of passes, calibrated acceptance, and policies."""

import etesian._shared.compiled_cache  # noqa: F401  # before any loop is compiled
from etesian.decode.speculation.adaptive import Speculation
from etesian.decode.speculation.calibration import Calibration
from etesian.decode.speculation.costs import PassCosts, cached_pass_costs
from etesian.decode.speculation.policy import FixedPolicy, Policy

__all__ = ["Calibration", "FixedPolicy", "PassCosts", "Policy", "Speculation", "cached_pass_costs"]
