// Microsoft Sentinel on the workspace: analytics rules, hunting queries and the workbook of sentinel/.

import { huntingQueries, rules } from '../sentinel/content.bicep'
import { textMap } from '../types.bicep'

@description('Name of the workspace, new or existing, in this module\'s resource group.')
param workspaceName string

@description('Azure region: that of the workspace.')
param location string

@description('Tags of the workbook.')
param tags textMap

// What the Azure-Sentinel repository abbreviates, in the words of the API.
var operators = {
  eq: 'Equal'
  gt: 'GreaterThan'
  lt: 'LessThan'
  ne: 'NotEqual'
}

@description('5m and 14d as ISO 8601 has them: PT5M and P14D.')
func duration(text string) string => toUpper(endsWith(text, 'd') ? 'P${text}' : 'PT${text}')

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: workspaceName
}

resource onboarding 'Microsoft.SecurityInsights/onboardingStates@2025-09-01' = {
  scope: workspace
  name: 'default'
  properties: {}
}

resource alertRules 'Microsoft.SecurityInsights/alertRules@2025-09-01' = [
  for rule in rules: {
    scope: workspace
    name: rule.id
    kind: 'Scheduled'
    properties: {
      displayName: rule.name
      description: rule.description
      enabled: rule.?enabled ?? true
      severity: rule.severity
      query: rule.query
      queryFrequency: duration(rule.queryFrequency)
      queryPeriod: duration(rule.queryPeriod)
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
  }
]

resource savedSearches 'Microsoft.OperationalInsights/workspaces/savedSearches@2025-07-01' = [
  for hunt in huntingQueries: {
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
  }
]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(workspace.id, 'llm-abuse-detector')
  location: location
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
