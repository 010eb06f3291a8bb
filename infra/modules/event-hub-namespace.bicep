// The Event Hub namespace, unless there is one already.

import { textMap } from '../types.bicep'

@description('Name of the namespace: letters, digits and hyphens, a letter first.')
param name string

@description('Azure region: that of the accounts to watch, as diagnostic settings stay within a region.')
param location string

@description('Tags of the resource.')
param tags textMap

@description('Throughput units up to which it grows by itself.')
param maximumThroughputUnits int

@description('Only private endpoints, and Azure Monitor as a trusted service, reach the namespace.')
param networkIsolation bool

resource namespace 'Microsoft.EventHub/namespaces@2026-01-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: 'Standard' // Basic has no consumer groups
    tier: 'Standard'
    capacity: 1
  }
  properties: {
    // Diagnostic settings know no other way in than a shared access rule, so local authentication stays on, for the one
    // rule that may only send. The app itself reads with its identity.
    // https://learn.microsoft.com/azure/azure-monitor/platform/diagnostic-settings#destinations
    disableLocalAuth: false
    // Azure Monitor drops logs that a namespace throttles for long: let it grow.
    isAutoInflateEnabled: true
    maximumThroughputUnits: maximumThroughputUnits
    minimumTlsVersion: '1.2'
    publicNetworkAccess: networkIsolation ? 'Disabled' : 'Enabled'
  }
}

resource networkRules 'Microsoft.EventHub/namespaces/networkRuleSets@2026-01-01' = {
  parent: namespace
  name: 'default'
  properties: {
    defaultAction: networkIsolation ? 'Deny' : 'Allow'
    publicNetworkAccess: networkIsolation ? 'Disabled' : 'Enabled'
    trustedServiceAccessEnabled: true // lets diagnostic settings in
  }
}
