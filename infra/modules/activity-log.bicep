// The diagnostic setting that sends one subscription's activity log to the hub. Runs in the subscription.

targetScope = 'subscription'

@description('Name of the setting: a subscription can have five.')
param settingName string

@description('Resource id of the namespace\'s rule that may send.')
param senderRuleId string

@description('Name of the hub.')
param hubName string

// As for accounts, Azure documents this version alone.
#disable-next-line use-recent-api-versions
resource setting 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: settingName
  properties: {
    eventHubAuthorizationRuleId: senderRuleId
    eventHubName: hubName
    logs: [
      {
        category: 'Administrative'
        enabled: true
      }
    ]
  }
}
