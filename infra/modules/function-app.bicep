// The function app on its Flex Consumption plan, and every setting that it reads.

import { textMap } from '../types.bicep'

@description('Name of the app.')
param name string

@description('Name of the plan.')
param planName string

@description('Azure region.')
param location string

@description('Tags of the resources.')
param tags textMap

@description('Resource id of the app\'s identity.')
param identityId string

@description('Client id of the app\'s identity.')
param identityClientId string

@description('Name of the storage account.')
param storageName string

@description('Address of the container that packages are published to.')
param packageAddress string

@description('Host name of the Event Hub namespace.')
param fullyQualifiedNamespace string

@description('Name of the hub.')
param hubName string

@description('The detector\'s consumer group.')
param consumerGroup string

@description('Address that rows are posted to.')
param ingestionEndpoint string

@description('Immutable id of the data collection rule.')
param ingestionRuleId string

@description('Connection string of Application Insights.')
param applicationInsightsConnectionString string

@description('Memory of an instance, MB.')
param instanceMemoryMB int

@description('Most instances of a function on demand.')
param maximumInstanceCount int

@description('Instances of ingest that are kept warm.')
param alwaysReadyInstances int

@description('Resource id of the subnet that the app joins; empty for none.')
param subnetId string

@description('App settings over the defaults.')
param settings textMap

// With the values of local.settings.sample.json; the host reads the first ones. Flex Consumption takes no FUNCTIONS_* and
// WEBSITE_* settings: functionAppConfig says what they would.
var defaults = {
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  APPLICATIONINSIGHTS_CONNECTION_STRING: applicationInsightsConnectionString
  AzureWebJobsStorage__accountName: storageName
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  EventHubConnection__fullyQualifiedNamespace: fullyQualifiedNamespace
  EventHubConnection__credential: 'managedidentity'
  EventHubConnection__clientId: identityClientId
  AZURE_CLIENT_ID: identityClientId // posting to the data collection rule
  EVENT_HUB_NAME: hubName
  EVENT_HUB_CONSUMER_GROUP: consumerGroup
  EVALUATION_SCHEDULE: '45 */10 * * * *'
  LOGS_INGESTION_ENDPOINT: ingestionEndpoint
  LOGS_INGESTION_RULE_ID: ingestionRuleId
  LOGS_INGESTION_STREAM: 'Custom-LlmThreatFindings_CL'
  LOGS_INGESTION_HEALTH_STREAM: 'Custom-LlmDetectorHealth_CL'
  TUNING_FILE: 'detectors/tuning.toml' // thresholds, severities and exceptions
  BUCKET_RETENTION_HOURS: '25'
  QUARANTINE_EXCERPT_CHARACTERS: '1024'
}

var ingestReady = [
  {
    name: 'function:ingest'
    instanceCount: alwaysReadyInstances
  }
]

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  // checkov:skip=CKV_AZURE_225:zones would double what always-ready instances cost; findings are caught up after an outage
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true // Linux
  }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  // checkov:skip=CKV_AZURE_17:no function listens to HTTP, so there is no client to present a certificate
  // checkov:skip=CKV_AZURE_78:Flex Consumption has no FTP, and no such property
  // checkov:skip=CKV_AZURE_212:Flex Consumption scales to what the events need
  // checkov:skip=CKV_AZURE_213:nothing to ask over HTTP; heartbeats say whether the detector works
  // checkov:skip=CKV_AZURE_222:publishing comes through the public address, with Entra ID; no function listens there
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'detector' }) // by which azd finds where to publish
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageAddress
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        alwaysReady: alwaysReadyInstances > 0 ? ingestReady : []
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
      }
    }
    siteConfig: {
      appSettings: [
        for setting in items(union(defaults, settings)): {
          name: setting.key
          value: setting.value
        }
      ]
      http20Enabled: true
      minTlsVersion: '1.2'
    }
  }
}

// Publishing asks for Entra ID, never for a password.
resource ftp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource scm 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
  dependsOn: [
    ftp // a site refuses two changes at once
  ]
}

@description('Name of the app, once it is there.')
output name string = app.name
