// Copy this to my.bicepparam and fill it in. Further parameters are described in main.bicep.
using 'main.bicep'

param namePrefix = 'llmabuse'

param watchedAccountIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/<group>/providers/Microsoft.CognitiveServices/accounts/<account>'
]

// Leave these out for a workspace and a namespace of the detector's own.
param existingWorkspaceId = ''
param existingEventHubNamespaceId = ''

param networkIsolation = false
