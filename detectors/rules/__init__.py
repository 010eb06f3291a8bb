"""The catalogue: every rule, in the order in which findings list them. A new rule is a module and a line here."""

from detectors.rules.model_theft import MODEL_THEFT
from detectors.rules.rule import Rule

CATALOGUE: tuple[Rule, ...] = (MODEL_THEFT,)

BY_ID: dict[str, Rule] = {rule.id: rule for rule in CATALOGUE}
