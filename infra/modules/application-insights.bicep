// The app's own log, in the same workspace.

import { textMap } from '../types.bicep'

@description('Name of the component.')
param name string

@description('Azure region.')
param location string

@description('Tags of the resource.')
param tags textMap

@description('Resource id of the workspace.')
param workspaceId string

@description('Object id of the identity that logs.')
param principalId string

var roles = loadJsonContent('../roles.json')
var role = roles['Monitoring Metrics Publisher']

resource component 'Microsoft.Insights/components@2020-02-02' = {
  name: name
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    DisableLocalAuth: true // the connection string alone lets nobody log: Entra ID is asked for
    IngestionMode: 'LogAnalytics'
    WorkspaceResourceId: workspaceId
  }
}

resource publisher 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(component.id, principalId, role)
  scope: component
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
  }
}

@description('Connection string. It holds no secret, as local authentication is off.')
output connectionString string = component.properties.ConnectionString
