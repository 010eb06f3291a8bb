"""The catalogue: every rule, in the order in which findings list them. A new rule is a module and a line here."""

from detectors.rules.bedrock_denied_models import BEDROCK_DENIED_MODELS
from detectors.rules.bedrock_guardrail_violations import BEDROCK_GUARDRAIL_VIOLATIONS
from detectors.rules.bedrock_validation_exceptions import BEDROCK_VALIDATION_EXCEPTIONS
from detectors.rules.denial_of_service import DENIAL_OF_SERVICE
from detectors.rules.insecure_output import INSECURE_OUTPUT
from detectors.rules.large_transfer import LARGE_TRANSFER
from detectors.rules.model_theft import MODEL_THEFT
from detectors.rules.new_key_lister import NEW_KEY_LISTER
from detectors.rules.rule import Rule

CATALOGUE: tuple[Rule, ...] = (
    MODEL_THEFT,
    DENIAL_OF_SERVICE,
    INSECURE_OUTPUT,
    LARGE_TRANSFER,
    NEW_KEY_LISTER,
    BEDROCK_DENIED_MODELS,
    BEDROCK_VALIDATION_EXCEPTIONS,
    BEDROCK_GUARDRAIL_VIOLATIONS,
)

BY_ID: dict[str, Rule] = {rule.id: rule for rule in CATALOGUE}
