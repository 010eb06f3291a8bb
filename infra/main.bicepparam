// What `azd up` deploys with: set the values with `azd env set NAME VALUE`. For az see sample.bicepparam.
using 'main.bicep'

var existingWorkspace = readEnvironmentVariable('EXISTING_WORKSPACE_ID', '')
var existingNamespace = readEnvironmentVariable('EXISTING_EVENT_HUB_NAMESPACE_ID', '')

param location = readEnvironmentVariable('AZURE_LOCATION')

param namePrefix = readEnvironmentVariable('NAME_PREFIX', 'llmabuse')

// Resource ids with commas between them.
param watchedAccountIds = split(readEnvironmentVariable('OPENAI_ACCOUNT_IDS'), ',')

param existingWorkspaceId = existingWorkspace
param existingEventHubNamespaceId = existingNamespace

param networkIsolation = bool(readEnvironmentVariable('NETWORK_ISOLATION', 'false'))
