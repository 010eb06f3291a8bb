// The analytics rules and hunting queries. Written by `python -m infra.sentinel.analytic_rules`.

import { analyticsRule, huntingQuery } from '../types.bicep'

@export()
var rules analyticsRule[] = [
  loadYamlContent('analytic-rules/account-silent.yaml')
  loadYamlContent('analytic-rules/bedrock-blocked-requests.yaml')
  loadYamlContent('analytic-rules/bedrock-denied-models.yaml')
  loadYamlContent('analytic-rules/bedrock-guardrail-violations.yaml')
  loadYamlContent('analytic-rules/bedrock-guardrail-weakened.yaml')
  loadYamlContent('analytic-rules/bedrock-logging-disabled.yaml')
  loadYamlContent('analytic-rules/bedrock-missing-models.yaml')
  loadYamlContent('analytic-rules/bedrock-model-enumeration.yaml')
  loadYamlContent('analytic-rules/bedrock-token-burst.yaml')
  loadYamlContent('analytic-rules/bedrock-validation-exceptions.yaml')
  loadYamlContent('analytic-rules/denial-of-service.yaml')
  loadYamlContent('analytic-rules/detector-silent.yaml')
  loadYamlContent('analytic-rules/diagnostics-removed.yaml')
  loadYamlContent('analytic-rules/first-key-listing.yaml')
  loadYamlContent('analytic-rules/first-key-use.yaml')
  loadYamlContent('analytic-rules/groups-truncated.yaml')
  loadYamlContent('analytic-rules/insecure-output.yaml')
  loadYamlContent('analytic-rules/key-sweep.yaml')
  loadYamlContent('analytic-rules/large-transfer.yaml')
  loadYamlContent('analytic-rules/model-theft.yaml')
  loadYamlContent('analytic-rules/new-key-lister.yaml')
  loadYamlContent('analytic-rules/quarantine-rises.yaml')
  loadYamlContent('analytic-rules/refused-access.yaml')
  loadYamlContent('analytic-rules/refused-requests.yaml')
  loadYamlContent('analytic-rules/unread-logs.yaml')
]

@export()
var huntingQueries huntingQuery[] = [
  loadYamlContent('hunting-queries/denial-of-service-in-raw-logs.yaml')
  loadYamlContent('hunting-queries/files-and-deployments.yaml')
  loadYamlContent('hunting-queries/first-time-key-listers.yaml')
  loadYamlContent('hunting-queries/insecure-output-in-raw-logs.yaml')
  loadYamlContent('hunting-queries/keys-listed-then-volume.yaml')
  loadYamlContent('hunting-queries/large-transfer-in-raw-logs.yaml')
  loadYamlContent('hunting-queries/model-theft-in-raw-logs.yaml')
  loadYamlContent('hunting-queries/refused-access-in-raw-logs.yaml')
  loadYamlContent('hunting-queries/refused-requests-in-raw-logs.yaml')
]
