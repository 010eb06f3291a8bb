// The data collection rule that takes findings and heartbeats. Of kind Direct: it has an endpoint of its own.

import { textMap } from '../types.bicep'

@description('Name of the rule.')
param name string

@description('Azure region: that of the workspace.')
param location string

@description('Tags of the resource.')
param tags textMap

@description('Resource id of the workspace.')
param workspaceId string

@description('Object id of the identity that posts.')
param principalId string

var roles = loadJsonContent('../roles.json')
var tables = loadJsonContent('../tables.json')
var role = roles['Monitoring Metrics Publisher']

resource rule 'Microsoft.Insights/dataCollectionRules@2024-03-11' = {
  name: name
  location: location
  tags: tags
  kind: 'Direct'
  properties: {
    description: 'Findings and heartbeats of the LLM abuse detector.'
    streamDeclarations: {
      'Custom-LlmThreatFindings_CL': {
        columns: tables.LlmThreatFindings_CL
      }
      'Custom-LlmDetectorHealth_CL': {
        columns: tables.LlmDetectorHealth_CL
      }
    }
    destinations: {
      logAnalytics: [
        {
          name: 'workspace'
          workspaceResourceId: workspaceId
        }
      ]
    }
    dataFlows: [
      {
        streams: [
          'Custom-LlmThreatFindings_CL'
        ]
        destinations: [
          'workspace'
        ]
        transformKql: 'source'
        outputStream: 'Custom-LlmThreatFindings_CL'
      }
      {
        streams: [
          'Custom-LlmDetectorHealth_CL'
        ]
        destinations: [
          'workspace'
        ]
        transformKql: 'source'
        outputStream: 'Custom-LlmDetectorHealth_CL'
      }
    ]
  }
}

resource publisher 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(rule.id, principalId, role)
  scope: rule
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
  }
}

@description('Address that rows are posted to.')
output endpoint string = rule.properties.endpoints.logsIngestion

@description('The rule\'s immutable id, dcr-…')
output immutableId string = rule.properties.immutableId
