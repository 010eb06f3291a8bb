// Microsoft Sentinel on the workspace: analytics rules, hunting queries and the workbook of sentinel/.

import { huntingQueries, rules } from '../sentinel/content.bicep'
import { raisedBySeverity, textMap } from '../types.bicep'

@description('Name of the workspace, new or existing, in this module\'s resource group.')
param workspaceName string

@description('Azure region: that of the workspace.')
param location string

@description('Tags of the workbook.')
param tags textMap

@description('What a severity raises: an incident, an alert without one, or neither.')
param raises raisedBySeverity

// Sentinel opens incidents by rule, and findings of one rule differ in severity. So each rule is there twice: for what
// opens an incident, and for what alerts alone. One of them is switched off if no severity is left for it.
var allSeverities = 'let Severities = dynamic(["High", "Medium", "Low", "Informational"]);'
var kinds = map(['incident', 'alert'], kind => {
  opensIncident: kind == 'incident'
  severities: map(filter(items(raises), one => one.value == kind), one => one.key)
})
var deployed = flatten(map(kinds, kind => map(rules, rule => { kind: kind, rule: rule })))

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
  for one in deployed: {
    scope: workspace
    name: one.kind.opensIncident ? one.rule.id : guid(one.rule.id, 'alert')
    kind: 'Scheduled'
    properties: {
      displayName: one.kind.opensIncident ? one.rule.name : '${one.rule.name} (alert alone)'
      description: one.rule.description
      enabled: (one.rule.?enabled ?? true) && !empty(one.kind.severities)
      severity: one.rule.severity
      query: replace(one.rule.query, allSeverities, 'let Severities = dynamic(${string(one.kind.severities)});')
      queryFrequency: duration(one.rule.queryFrequency)
      queryPeriod: duration(one.rule.queryPeriod)
      triggerOperator: operators[one.rule.triggerOperator]
      triggerThreshold: one.rule.triggerThreshold
      suppressionEnabled: false
      suppressionDuration: 'PT5H' // asked for, though suppression is off
      tactics: one.rule.tactics
      techniques: one.rule.relevantTechniques
      entityMappings: one.rule.?entityMappings
      customDetails: one.rule.?customDetails
      alertDetailsOverride: one.rule.?alertDetailsOverride
      eventGroupingSettings: one.rule.?eventGroupingSettings
      incidentConfiguration: {
        createIncident: one.kind.opensIncident
        groupingConfiguration: union(one.rule.incidentConfiguration.groupingConfiguration, {
          enabled: one.kind.opensIncident
        })
      }
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
