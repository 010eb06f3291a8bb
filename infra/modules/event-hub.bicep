// The hub that receives the diagnostic logs: who may send, who may receive.

@description('Name of the namespace, new or existing, in this module\'s resource group.')
param namespaceName string

@description('Name of the hub.')
param hubName string

@description('The detector\'s consumer group.')
param consumerGroup string

@description('Number of partitions: how many instances can count at once. It cannot be changed later.')
param partitionCount int

@description('Hours for which the hub keeps events.')
param retentionHours int

@description('Object id of the identity that receives.')
param principalId string

var roles = loadJsonContent('../roles.json')

resource namespace 'Microsoft.EventHub/namespaces@2026-01-01' existing = {
  name: namespaceName
}

resource hub 'Microsoft.EventHub/namespaces/eventhubs@2026-01-01' = {
  parent: namespace
  name: hubName
  properties: {
    partitionCount: partitionCount
    retentionDescription: {
      cleanupPolicy: 'Delete'
      retentionTimeInHours: retentionHours
    }
  }
}

resource group 'Microsoft.EventHub/namespaces/eventhubs/consumergroups@2026-01-01' = {
  parent: hub
  name: consumerGroup
}

// Diagnostic settings take rules of a namespace only. Send is enough where the setting names a hub that exists:
// https://github.com/Azure/azure-cli/issues/24425
resource sender 'Microsoft.EventHub/namespaces/authorizationRules@2026-01-01' = {
  parent: namespace
  name: 'llm-diagnostics-send'
  properties: {
    rights: [
      'Send'
    ]
  }
}

resource receiver 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(hub.id, principalId, roles['Azure Event Hubs Data Receiver'])
  scope: hub
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles['Azure Event Hubs Data Receiver']
    )
  }
}

@description('Host name of the namespace, which the app connects to.')
output fullyQualifiedNamespace string = split(split(namespace.properties.serviceBusEndpoint, '//')[1], ':')[0]

@description('Name of the hub, once it is there.')
output hubName string = hub.name

@description('Resource id of the rule that diagnostic settings send with.')
output senderRuleId string = sender.id
