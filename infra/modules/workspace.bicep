// The Log Analytics workspace, unless there is one already.

import { textMap } from '../types.bicep'

@description('Name of the workspace.')
param name string

@description('Azure region.')
param location string

@description('Tags of the resource.')
param tags textMap

@description('Days for which tables without a retention of their own are kept.')
param retentionDays int

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    retentionInDays: retentionDays
    sku: {
      name: 'PerGB2018'
    }
    features: {
      disableLocalAuth: true // rows come through the data collection rule, with Entra ID
      enableLogAccessUsingOnlyResourcePermissions: true
    }
  }
}
