// The app's storage account: buckets, journal and quarantine, the state of the host, the published package.

import { textMap } from '../types.bicep'

@description('Name of the account: 3 to 24 lower-case letters and digits.')
param name string

@description('Azure region.')
param location string

@description('Tags of the resource.')
param tags textMap

@description('Object id of the identity that uses the account.')
param principalId string

@description('Only private endpoints reach the account.')
param networkIsolation bool

@description('Container of the published package.')
param packageContainer string

var roles = loadJsonContent('../roles.json')

// The functions host keeps leases and checkpoints in blobs, the orchestration its messages in queues and its history in
// tables: https://learn.microsoft.com/azure/azure-functions/durable/durable-functions-configure-managed-identity
var granted = [
  'Storage Blob Data Owner'
  'Storage Queue Data Contributor'
  'Storage Table Data Contributor'
]

// The app makes them too if they are missing. Here they say what is in the account.
var tables = loadJsonContent('../storage-tables.json')

resource account 'Microsoft.Storage/storageAccounts@2026-09-01' = {
  // checkov:skip=CKV_AZURE_35:closed by the switch networkIsolation; without it the app reaches the account from shared addresses
  // checkov:skip=CKV_AZURE_36:with networkIsolation only the app reaches the account, and through private endpoints
  // checkov:skip=CKV_AZURE_59:closed by the switch networkIsolation; without it Entra ID alone guards the account, keys are off
  // checkov:skip=CKV_AZURE_206:a copy elsewhere would serve nobody: the app runs here, and buckets are needed for a day
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS'
  }
  properties: {
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: networkIsolation ? 'Disabled' : 'Enabled'
    supportsHttpsTrafficOnly: true
    networkAcls: {
      bypass: 'None'
      defaultAction: networkIsolation ? 'Deny' : 'Allow'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2026-09-01' = {
  parent: account
  name: 'default'
}

resource package 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-09-01' = {
  parent: blobs
  name: packageContainer
  properties: {
    publicAccess: 'None'
  }
}

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2026-09-01' = {
  parent: account
  name: 'default'
}

resource appTables 'Microsoft.Storage/storageAccounts/tableServices/tables@2026-09-01' = [
  for table in tables: {
    parent: tableService
    name: table
  }
]

resource assignments 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in granted: {
    name: guid(account.id, principalId, roles[role])
    scope: account
    properties: {
      principalId: principalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[role])
    }
  }
]

@description('Name of the account, once it is there and may be used.')
output name string = account.name

@description('Address of the container that packages are published to.')
output packageAddress string = '${account.properties.primaryEndpoints.blob}${packageContainer}'
