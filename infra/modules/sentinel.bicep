// Microsoft Sentinel on the workspace: analytics rules, hunting queries and the workbook of sentinel/.

@description('Name of the workspace, new or existing, in this module\'s resource group.')
param workspaceName string

@description('Tags of the workbook.')
param tags object

// As any, since not every rule has every optional part.
var rules = [
  any(loadYamlContent('../sentinel/analytic-rules/account-silent.yaml'))
  any(loadYamlContent('../sentinel/analytic-rules/bedrock-denied-models.yaml'))
  any(loadYamlContent('../sentinel/analytic-rules/bedrock-guardrail-violations.yaml'))
  any(loadYamlContent('../sentinel/analytic-rules/bedrock-validation-exceptions.yaml'))
  any(loadYamlContent('../sentinel/analytic-rules/denial-of-service.yaml'))
  any(loadYamlContent('../sentinel/analytic-rules/detector-silent.yaml'))
  any(loadYamlContent('../sentinel/analytic-rules/insecure-output.yaml'))
  any(loadYamlContent('../sentinel/analytic-rules/large-transfer.yaml'))
  any(loadYamlContent('../sentinel/analytic-rules/model-theft.yaml'))
  any(loadYamlContent('../sentinel/analytic-rules/new-key-lister.yaml'))
]

var huntingQueries = [
  loadYamlContent('../sentinel/hunting-queries/denial-of-service-in-raw-logs.yaml')
  loadYamlContent('../sentinel/hunting-queries/first-time-key-listers.yaml')
  loadYamlContent('../sentinel/hunting-queries/insecure-output-in-raw-logs.yaml')
  loadYamlContent('../sentinel/hunting-queries/keys-listed-then-volume.yaml')
  loadYamlContent('../sentinel/hunting-queries/large-transfer-in-raw-logs.yaml')
  loadYamlContent('../sentinel/hunting-queries/model-theft-in-raw-logs.yaml')
]

// What the Azure-Sentinel repository abbreviates, in the words of the API.
var operators = {
  eq: 'Equal'
  gt: 'GreaterThan'
  lt: 'LessThan'
  ne: 'NotEqual'
}

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: workspaceName
}

resource onboarding 'Microsoft.SecurityInsights/onboardingStates@2025-09-01' = {
  scope: workspace
  name: 'default'
  properties: {}
}

resource alertRules 'Microsoft.SecurityInsights/alertRules@2025-09-01' = [for rule in rules: {
  scope: workspace
  name: rule.id
  kind: 'Scheduled'
  properties: {
    displayName: rule.name
    description: rule.description
    enabled: rule.?enabled ?? true
    severity: rule.severity
    query: rule.query
    queryFrequency: toUpper(endsWith(rule.queryFrequency, 'd') ? 'P${rule.queryFrequency}' : 'PT${rule.queryFrequency}')
    queryPeriod: toUpper(endsWith(rule.queryPeriod, 'd') ? 'P${rule.queryPeriod}' : 'PT${rule.queryPeriod}')
    triggerOperator: operators[rule.triggerOperator]
    triggerThreshold: rule.triggerThreshold
    suppressionEnabled: false
    suppressionDuration: 'PT5H' // asked for, though suppression is off
    tactics: rule.tactics
    techniques: rule.relevantTechniques
    entityMappings: rule.?entityMappings
    customDetails: rule.?customDetails
    alertDetailsOverride: rule.?alertDetailsOverride
    eventGroupingSettings: rule.?eventGroupingSettings
    incidentConfiguration: rule.?incidentConfiguration
  }
  dependsOn: [
    onboarding
  ]
}]

resource savedSearches 'Microsoft.OperationalInsights/workspaces/savedSearches@2025-07-01' = [for hunt in huntingQueries: {
  parent: workspace
  name: hunt.id
  properties: {
    category: 'Hunting Queries'
    displayName: hunt.name
    query: hunt.query
    version: 2
    tags: [
      {
        name: 'description'
        value: hunt.description
      }
      {
        name: 'tactics'
        value: join(hunt.tactics, ',')
      }
      {
        name: 'techniques'
        value: join(hunt.relevantTechniques, ',')
      }
    ]
  }
}]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(workspace.id, 'llm-abuse-detector')
  location: workspace.location
  tags: tags
  kind: 'shared'
  properties: {
    category: 'sentinel'
    displayName: 'LLM abuse detector'
    serializedData: loadTextContent('../sentinel/workbook.json')
    sourceId: workspace.id
    version: '1.0'
  }
  dependsOn: [
    onboarding
  ]
}
