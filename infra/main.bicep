// The detector and all that it needs: logs in through an Event Hub, findings out to Microsoft Sentinel.
//
//   az deployment group create --resource-group <group> --parameters infra/my.bicepparam
//
// One deployment watches accounts of one region, as diagnostic settings stay within a region. Deployments of several
// regions can share a workspace.

targetScope = 'resourceGroup'

import { raisedBySeverity, textMap } from 'types.bicep'

@description('Azure region of the accounts to watch.')
param location string = resourceGroup().location

@description('Start of all names: 3 to 11 lower-case letters and digits, a letter first.')
@minLength(3)
@maxLength(11)
param namePrefix string

@description('Resource ids of the Azure OpenAI accounts to watch: of this region, in any resource group and subscription of the tenant.')
@minLength(1)
param watchedAccountIds string[]

@description('Resource id of a Log Analytics workspace to use; empty makes one.')
param existingWorkspaceId string = ''

@description('Resource id of an Event Hub namespace to use: of this region, Standard or above, with local authentication on; empty makes one.')
param existingEventHubNamespaceId string = ''

@description('Private endpoints for storage and Event Hub, and a virtual network for the app.')
param networkIsolation bool = false

@description('Microsoft Sentinel on the workspace, with rules, hunting queries and workbook. On a workspace without it this raises the price of its logs.')
param sentinel bool = true

@description('What a severity raises in Sentinel: an incident, an alert without one, or neither (row).')
param raises raisedBySeverity = { High: 'incident', Medium: 'incident', Low: 'alert', Informational: 'row' }

@description('Send RequestResponse logs to the hub too: one record for each call of a model.')
param includeRequestResponse bool = true

@description('Send the activity log of the accounts\' subscriptions to the hub too: it tells key listings on all of their accounts, and deleted diagnostic settings. Who deploys needs Monitoring Contributor on these subscriptions.')
param includeActivityLog bool = false

@description('Partitions of the hub: how many instances can count at once. It cannot be changed later.')
@minValue(1)
@maxValue(32)
param partitionCount int = 4

@description('Throughput units up to which a new namespace grows by itself: 1 MB/s or 1,000 events/s each.')
@minValue(1)
@maxValue(40)
param maximumThroughputUnits int = 10

@description('Hours for which the hub keeps events, so that the evidence of a finding can be looked up. How far back the detector catches up is BUCKET_RETENTION_HOURS.')
@minValue(24)
@maxValue(168)
param eventRetentionHours int = 72

@description('Memory of an instance, MB.')
@allowed([
  512
  2048
  4096
])
param instanceMemoryMB int = 2048

@description('Most instances of a function on demand; some regions take no less than 40. Ingestion uses no more than there are partitions.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Instances of ingest that are kept warm; 0 scales to none between batches.')
@minValue(0)
@maxValue(32)
param alwaysReadyInstances int = 0

@description('Days for which a new workspace keeps logs.')
@minValue(30)
@maxValue(730)
param workspaceRetentionDays int = 90

// Log Analytics takes every number up to two years, then whole years only, counted in days:
// https://learn.microsoft.com/azure/azure-monitor/logs/data-retention-configure
@description('Days for which findings and heartbeats are kept; beyond 730 as an archive.')
@allowed([
  30
  60
  90
  120
  180
  270
  365
  550
  730
  1095
  1460
  1826
  2191
  2556
  2922
  3288
  3653
  4018
  4383
])
param findingsRetentionDays int = 365

@description('App settings over the defaults, such as MODEL_THEFT__COUNT.')
param settings textMap = {}

@description('Tags of all resources.')
param tags textMap = {}

var suffix = uniqueString(resourceGroup().id, namePrefix)
var baseName = '${namePrefix}-${suffix}'
var storageName = '${namePrefix}${suffix}'
var hubName = 'llm-logs'
var consumerGroup = 'detector'

var ownWorkspaceId = resourceId('Microsoft.OperationalInsights/workspaces', baseName)
var workspaceId = empty(existingWorkspaceId) ? ownWorkspaceId : existingWorkspaceId
var workspaceParts = split(workspaceId, '/')
var ownNamespaceId = resourceId('Microsoft.EventHub/namespaces', baseName)
var namespaceId = empty(existingEventHubNamespaceId) ? ownNamespaceId : existingEventHubNamespaceId
var namespaceParts = split(namespaceId, '/')

var watchedSubscriptionIds = union(map(watchedAccountIds, accountId => split(accountId, '/')[2]), [])

var privateServices = [
  {
    group: 'blob'
    target: resourceId('Microsoft.Storage/storageAccounts', storageName)
    zone: 'privatelink.blob.${environment().suffixes.storage}'
  }
  {
    group: 'queue'
    target: resourceId('Microsoft.Storage/storageAccounts', storageName)
    zone: 'privatelink.queue.${environment().suffixes.storage}'
  }
  {
    group: 'table'
    target: resourceId('Microsoft.Storage/storageAccounts', storageName)
    zone: 'privatelink.table.${environment().suffixes.storage}'
  }
  {
    group: 'namespace'
    target: namespaceId
    zone: 'privatelink.servicebus.windows.net'
  }
]
var isolatedServices = networkIsolation ? privateServices : []

module identity 'modules/identity.bicep' = {
  params: {
    name: baseName
    location: location
    tags: tags
  }
}

module storage 'modules/storage.bicep' = {
  params: {
    name: storageName
    location: location
    tags: tags
    principalId: identity.outputs.principalId
    networkIsolation: networkIsolation
    packageContainer: 'app-package'
  }
}

module eventHubNamespace 'modules/event-hub-namespace.bicep' = if (empty(existingEventHubNamespaceId)) {
  params: {
    name: baseName
    location: location
    tags: tags
    networkIsolation: networkIsolation
    maximumThroughputUnits: maximumThroughputUnits
  }
}

module eventHub 'modules/event-hub.bicep' = {
  scope: resourceGroup(namespaceParts[2], namespaceParts[4])
  params: {
    namespaceName: namespaceParts[8]
    hubName: hubName
    consumerGroup: consumerGroup
    partitionCount: partitionCount
    retentionHours: eventRetentionHours
    principalId: identity.outputs.principalId
  }
  dependsOn: [
    eventHubNamespace
  ]
}

module workspace 'modules/workspace.bicep' = if (empty(existingWorkspaceId)) {
  params: {
    name: baseName
    location: location
    tags: tags
    retentionDays: workspaceRetentionDays
  }
}

module tables 'modules/tables.bicep' = {
  scope: resourceGroup(workspaceParts[2], workspaceParts[4])
  params: {
    workspaceName: workspaceParts[8]
    retentionDays: findingsRetentionDays
  }
  dependsOn: [
    workspace
  ]
}

module dataCollection 'modules/data-collection.bicep' = {
  params: {
    name: baseName
    location: tables.outputs.location
    tags: tags
    workspaceId: workspaceId
    principalId: identity.outputs.principalId
  }
}

module applicationInsights 'modules/application-insights.bicep' = {
  params: {
    name: baseName
    location: location
    tags: tags
    workspaceId: workspaceId
    principalId: identity.outputs.principalId
  }
  dependsOn: [
    workspace
  ]
}

module network 'modules/network.bicep' = if (networkIsolation) {
  params: {
    name: baseName
    location: location
    tags: tags
  }
}

module privateEndpoints 'modules/private-endpoint.bicep' = [
  for service in isolatedServices: {
    params: {
      name: '${baseName}-${service.group}'
      location: location
      tags: tags
      targetId: service.target
      groupId: service.group
      zoneName: service.zone
      networkId: network!.outputs.id
      subnetId: network!.outputs.endpointsSubnetId
    }
    dependsOn: [
      storage
      eventHub
    ]
  }
]

module functionApp 'modules/function-app.bicep' = {
  params: {
    name: baseName
    planName: baseName
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    storageName: storage.outputs.name
    packageAddress: storage.outputs.packageAddress
    fullyQualifiedNamespace: eventHub.outputs.fullyQualifiedNamespace
    hubName: eventHub.outputs.hubName
    consumerGroup: consumerGroup
    ingestionEndpoint: dataCollection.outputs.endpoint
    ingestionRuleId: dataCollection.outputs.immutableId
    applicationInsightsConnectionString: applicationInsights.outputs.connectionString
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReadyInstances: alwaysReadyInstances
    subnetId: networkIsolation ? network!.outputs.functionsSubnetId : ''
    settings: settings
  }
  dependsOn: [
    privateEndpoints
  ]
}

module diagnostics 'modules/diagnostics.bicep' = [
  for accountId in watchedAccountIds: {
    scope: resourceGroup(split(accountId, '/')[2], split(accountId, '/')[4])
    params: {
      accountName: last(split(accountId, '/'))
      settingName: 'llm-abuse-detector'
      senderRuleId: eventHub.outputs.senderRuleId
      hubName: eventHub.outputs.hubName
      includeRequestResponse: includeRequestResponse
    }
  }
]

module activityLogs 'modules/activity-log.bicep' = [
  for subscriptionId in includeActivityLog ? watchedSubscriptionIds : []: {
    scope: subscription(subscriptionId)
    params: {
      settingName: 'llm-abuse-detector'
      senderRuleId: eventHub.outputs.senderRuleId
      hubName: eventHub.outputs.hubName
    }
  }
]

module sentinelContent 'modules/sentinel.bicep' = if (sentinel) {
  scope: resourceGroup(workspaceParts[2], workspaceParts[4])
  params: {
    workspaceName: workspaceParts[8]
    location: tables.outputs.location
    tags: tags
    raises: raises
  }
  // Last of all: Sentinel runs the query of each rule, and a table that has just been made may not be there for it yet.
  dependsOn: [
    functionApp
  ]
}

@description('For: func azure functionapp publish <functionAppName>')
output functionAppName string = functionApp.outputs.name

@description('For: az monitor log-analytics query --workspace <workspaceCustomerId>')
output workspaceCustomerId string = tables.outputs.customerId

@description('The account whose table LlmQuarantine holds what could not be read.')
output storageAccountName string = storage.outputs.name

@description('Host name of the namespace that receives the logs, for a local run against it.')
output eventHubNamespace string = eventHub.outputs.fullyQualifiedNamespace
