// The two tables, with the columns of tables.json, which is generated from the code.

@description('Name of the workspace, new or existing, in this module\'s resource group.')
param workspaceName string

@description('Days for which findings and heartbeats are kept.')
param retentionDays int

var tables = loadJsonContent('../tables.json')

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: workspaceName
}

@batchSize(1) // a workspace refuses two changes at once
resource customTables 'Microsoft.OperationalInsights/workspaces/tables@2025-07-01' = [
  for table in items(tables): {
    parent: workspace
    name: table.key
    properties: {
      plan: 'Analytics'
      retentionInDays: min(retentionDays, 730)
      totalRetentionInDays: retentionDays
      schema: {
        name: table.key
        columns: [
          for column in table.value: {
            name: column.name
            type: column.type == 'datetime' ? 'dateTime' : column.type // the one type that tables and rules spell differently
          }
        ]
      }
    }
  }
]

@description('Region of the workspace, which a data collection rule must share.')
output location string = workspace.location

@description('The id by which queries name the workspace.')
output customerId string = workspace.properties.customerId
