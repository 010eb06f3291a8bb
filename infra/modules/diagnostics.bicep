// The diagnostic setting that sends one Azure OpenAI account's logs to the hub. Runs in the account's resource group.

@description('Name of the account to watch.')
param accountName string

@description('Name of the setting: an account can have five.')
param settingName string

@description('Resource id of the namespace\'s rule that may send.')
param senderRuleId string

@description('Name of the hub.')
param hubName string

@description('Send RequestResponse logs too: one record for each call of a model.')
param includeRequestResponse bool

var audit = [
  {
    category: 'Audit'
    enabled: true
  }
]

var requestResponse = [
  {
    category: 'RequestResponse'
    enabled: true
  }
]

resource account 'Microsoft.CognitiveServices/accounts@2026-03-01' existing = {
  name: accountName
}

// The one generally available version, 2016-09-01, is of the time of one setting for each resource; Azure documents this one.
#disable-next-line use-recent-api-versions
resource setting 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: settingName
  scope: account
  properties: {
    eventHubAuthorizationRuleId: senderRuleId
    eventHubName: hubName
    logs: includeRequestResponse ? concat(audit, requestResponse) : audit
  }
}
